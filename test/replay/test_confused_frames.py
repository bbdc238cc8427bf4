from __future__ import annotations

import numpy as np

from enet_ros.replay.confused_frames import LIMIT, ConfusedFrames


def test_the_frames_with_most_pixels_are_kept_for_each_wrong_pair() -> None:
    confusions = np.random.default_rng(0).integers(0, 9, (40, 3, 4))
    confused = ConfusedFrames(3)
    for frame, confusion in enumerate(confusions):
        confused.update(frame, confusion)
    expected = {}
    for true, predicted in np.ndindex(3, 4):
        if true != predicted:
            frames = sorted(range(40), key=lambda frame: (-confusions[frame, true, predicted], frame))[:LIMIT]
            expected[true, predicted] = tuple((frame, int(confusions[frame, true, predicted])) for frame in frames)
    assert confused.result() == expected


def test_pairs_that_were_not_confused_are_left_out_and_hits_are_not_listed() -> None:
    confused = ConfusedFrames(2)
    confused.update(0, np.array([[50, 3, 0], [0, 70, 0]]))
    confused.update(1, np.array([[50, 0, 0], [0, 70, 2]]))
    assert confused.result() == {(0, 1): ((0, 3),), (1, 2): ((1, 2),)}
