# Source this file, then call `prepare_environment [NAME...]`: it creates .venv if necessary, installs the pinned requirements
# (those for running, and requirements/NAME.txt) and this package into it if they changed, and activates it. With `train`, it
# installs PyTorch: without CUDA, or with CUDA if there is an NVIDIA GPU; ENET_TORCH=cpu or cuda chooses.

ENET_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# Print one checksum over names and contents of everything that setup.py installs.
package_checksum() (
    cd "$ENET_ROOT"
    find enet_ros launch config models resource scripts/lib setup.py setup.cfg package.xml -type f ! -name '*.pyc' -print0 |
        LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum
)

prepare_environment() {
    if [ -z "${ROS_DISTRO:-}" ] && [ -n "${_ROS_WHEELS_BOOTSTRAP_COMPLETE:-}" ]; then
        # set by the ROS wheels of another environment, whose libraries must not be used here
        unset _ROS_WHEELS_BOOTSTRAP_COMPLETE LD_LIBRARY_PATH
    fi
    if [ -z "${ROS_DISTRO:-}" ] && [ "$(uname -m)" != x86_64 ]; then
        echo "ROS 2 from wheels is for x86-64 only: install ROS 2 and source its setup.bash" >&2
        return 1
    fi
    # lock: two runs must not install into the environment at the same time
    exec 9<"${BASH_SOURCE[0]}"
    flock 9
    local venv="$ENET_ROOT/.venv" requirements=(build run ros-wheels "$@") name file checksum
    if [ -n "${ROS_DISTRO:-}" ]; then
        requirements=(build ros-extra "$@")
    fi
    if [[ " $* " = *" train "* ]]; then
        local torch=cpu
        if [ -e /dev/nvidiactl ]; then torch=cuda; fi
        requirements+=("torch-${ENET_TORCH:-$torch}")
    fi
    if [ ! -x "$venv/bin/python" ]; then
        python3 -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' || {
            echo "$(python3 --version 2>&1) is not supported: install Python 3.10 to 3.14" >&2
            return 1
        }
        echo "creating .venv ..."
        # with ROS installed, rclpy is a system package
        python3 -m venv ${ROS_DISTRO:+--system-site-packages} "$venv" || {
            echo "cannot create a virtual environment: install the system package python3-venv" >&2
            return 1
        }
    fi
    local pip=("$venv/bin/python" -m pip --disable-pip-version-check install --quiet)
    for name in "${requirements[@]}"; do
        file="$ENET_ROOT/requirements/$name.txt"
        if ! cmp -s "$file" "$venv/installed-$name.txt"; then
            echo "installing requirements/$name.txt ..."
            # the files list everything, with hashes: nothing else is resolved, and nothing without a hash is installed. The
            # file of PyTorch's CPU build has none, which pip would refuse
            local hashes=--require-hashes
            if [ "$name" = torch-cpu ]; then hashes=; fi
            "${pip[@]}" --no-deps $hashes -r "$file" || return 1
            cp "$file" "$venv/installed-$name.txt"
        fi
    done
    if [ -n "${ROS_DISTRO:-}" ]; then
        name=$("$venv/bin/python" -c 'from importlib.util import find_spec
print(*(name for name in ("cv2", "numpy", "rclpy", "sensor_msgs", "tqdm", "yaml") if not find_spec(name)))')
        if [ -n "$name" ]; then
            echo "ROS $ROS_DISTRO is sourced but lacks $name: rosdep install --from-paths $ENET_ROOT --ignore-src" >&2
            return 1
        fi
    fi
    checksum=$(package_checksum) || return 1
    if [ ! -x "$venv/bin/enet" ] || [ "$checksum" != "$(cat "$venv/installed-package.txt" 2>/dev/null)" ]; then
        echo "installing enet_ros ..."
        rm -f "$venv/installed-package.txt"
        (
            cd "$ENET_ROOT" || exit 1
            rm -rf build enet_ros.egg-info  # files from an earlier build would be installed, too
            # not an editable installation: what runs here is what a user gets. Older versions of pip need --use-pep517 to install
            # a wheel, which lists its files: enet_ros.resources looks for them
            "${pip[@]}" --no-deps --no-build-isolation --use-pep517 --force-reinstall . || exit 1
            rm -rf build enet_ros.egg-info
        ) || return 1
        echo "$checksum" >"$venv/installed-package.txt"
    fi
    exec 9<&-
    # shellcheck disable=SC1091
    . "$venv/bin/activate"
    export HOME="${HOME:-$venv}"  # ROS writes its logs below it
    export PYTHONUNBUFFERED=1
    export AMENT_PREFIX_PATH="$venv${AMENT_PREFIX_PATH:+:$AMENT_PREFIX_PATH}"
    export FASTRTPS_DEFAULT_PROFILES_FILE="${FASTRTPS_DEFAULT_PROFILES_FILE:-$ENET_ROOT/config/fastdds.xml}"
    # a random domain, so that this run does not exchange messages with a robot nearby
    export ROS_DOMAIN_ID=$((RANDOM % 100 + 1))
}
