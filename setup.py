"""Build enet_ros: with colcon in a ROS 2 workspace, with pip everywhere else."""

from glob import glob

from setuptools import find_packages, setup

NAME = 'enet_ros'

setup(
    name=NAME,
    version='0.1.0',
    description='Real-time semantic segmentation for ROS 2 with ENet',
    license='Apache-2.0',
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    package_data={NAME: ['py.typed', 'replay/report_schema.json', 'replay/templates/*']},
    python_requires='>=3.10',
    # Lower bounds; scripts/ installs the exact versions in requirements/. In a ROS workspace, rosdep installs most of them.
    install_requires=[
        'numpy>=1.26',
        'opencv-python-headless>=4.5',
        'PyYAML>=6.0',
        'safetensors>=0.4.3',
        'tqdm>=4.60',
        'jsonschema>=3.2',
        'lz4>=3.0',
        'mcap>=1.2',
        'openvino>=2024.4',
        'rosbags>=0.11',
        'rosbags-image>=0.10',
        'zstandard>=0.22',
        'Jinja2>=3.0',
        'plotly>=6.0',
    ],
    extras_require={
        'train': [
            'torch>=2.5', 'lightning>=2.6', 'tensorboard>=2.13', 'onnx>=1.16', 'dacite>=1.8',
            'matplotlib>=3.6',
        ],
        'report': ['matplotlib>=3.6'],
        'int8': ['nncf>=3.0', 'onnx>=1.16', 'onnxruntime>=1.18'],
        # some dataset layouts: docs/datasets.md; earlier versions of Pillow draw other pixels than labelme does now
        'datasets': ['h5py>=3.7', 'scipy>=1.8', 'pycocotools>=2.0.6', 'pillow>=11.3'],
        'ray': ['ray>=2.10'],  # enet replay --ray
        'test': ['pytest<9'],  # colcon test looks for it here
    },
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (f'share/{NAME}', ['package.xml']),
        (f'share/{NAME}/launch', glob('launch/*.launch.py')),
        (f'share/{NAME}/config', glob('config/*.*')),
        (f'share/{NAME}/config/train', glob('config/train/*.yaml')),
        (f'share/{NAME}/config/security', glob('config/security/*.xml')),
        (f'share/{NAME}/models', glob('models/*')),
        # where `ros2 run` and launch look; pip ignores install_scripts in setup.cfg
        (f'lib/{NAME}', glob('scripts/lib/*')),
    ],
    zip_safe=False,
    entry_points={
        'console_scripts': [
            'enet = enet_ros.cli.start:main',
            'segment_node = enet_ros.ros.segment_node:main',
        ],
    },
)
