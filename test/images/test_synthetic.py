from __future__ import annotations

import numpy as np

from enet_ros.images.synthetic import draw_scene
from enet_ros.labels import CAMVID


def test_drawn_scenes_show_every_class() -> None:
    seen = set()
    for number in range(60):
        seen |= set(np.unique(draw_scene(number)[1]).tolist())
    assert seen == set(range(len(CAMVID)))


def test_a_drawn_scene_is_the_same_every_time_and_differs_from_the_next() -> None:
    for first, second in zip(draw_scene(7), draw_scene(7)):
        assert (first == second).all()
    assert (draw_scene(7)[0] != draw_scene(8)[0]).any()
