# Sourced by the other scripts: `prepare_environment [NAME...]` makes .venv if it is missing, installs the pinned requirements
# (those for running, and requirements/NAME.txt) and this package into it, and activates it.

ENET_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

prepare_environment() {
    if [ -z "${ROS_DISTRO:-}" ] && [ -n "${_ROS_WHEELS_BOOTSTRAP_COMPLETE:-}" ]; then
        # exported by the start-up hook of another environment's ROS wheels, whose libraries must not mix with these
        unset _ROS_WHEELS_BOOTSTRAP_COMPLETE LD_LIBRARY_PATH
    fi
    # one at a time: a second run must not install into the environment while the first one does
    exec 9<"${BASH_SOURCE[0]}"
    flock 9
    local venv="$ENET_ROOT/.venv" requirements=(build run ros-wheels "$@") name file
    if [ -n "${ROS_DISTRO:-}" ]; then
        requirements=(build ros-extra "$@")
    fi
    if [ ! -x "$venv/bin/python" ]; then
        python3 -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' || {
            echo "$(python3 --version 2>&1) is not supported: install Python 3.10 to 3.14" >&2
            return 1
        }
        echo "making .venv ..."
        # a ROS installation's rclpy is among the system's packages
        python3 -m venv ${ROS_DISTRO:+--system-site-packages} "$venv" || {
            echo "cannot make a virtual environment: install your system's python3-venv" >&2
            return 1
        }
    fi
    local pip=("$venv/bin/python" -m pip --disable-pip-version-check install --quiet)
    for name in "${requirements[@]}"; do
        file="$ENET_ROOT/requirements/$name.txt"
        if ! cmp -s "$file" "$venv/installed-$name.txt"; then
            echo "installing requirements/$name.txt ..."
            "${pip[@]}" -r "$file" || return 1
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
    # installed as a user would, not linked: what runs is what a user gets; leftovers of an earlier build would get in, too
    (
        cd "$ENET_ROOT" || exit 1
        rm -rf build enet_ros.egg-info
        "${pip[@]}" --no-deps --no-build-isolation --force-reinstall . || exit 1
        rm -rf build enet_ros.egg-info
    ) || return 1
    exec 9<&-
    # shellcheck disable=SC1091
    . "$venv/bin/activate"
    export HOME="${HOME:-$venv}"  # ROS puts its logs below it
    export PYTHONUNBUFFERED=1
    export AMENT_PREFIX_PATH="$venv${AMENT_PREFIX_PATH:+:$AMENT_PREFIX_PATH}"
    export FASTRTPS_DEFAULT_PROFILES_FILE="${FASTRTPS_DEFAULT_PROFILES_FILE:-$ENET_ROOT/config/fastdds.xml}"
    # its own, so that this run and a robot nearby do not hear each other
    export ROS_DOMAIN_ID=$((RANDOM % 100 + 1))
}
