from __future__ import annotations

import json
from pathlib import Path

from enet_ros.datasets.searching import files_in, is_converted, unused_files


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_hidden_files_and_those_of_conversions_are_not_searched(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ('b/c.JPG', 'b/a.jpg', 'a.png', 'a.txt', '.a.jpg', '.git/a.jpg', '__MACOSX/a.jpg',
                                         'out/train/images/a.jpg')))
    (tmp_path / 'out' / '.unfinished.jsonl').write_text(json.dumps(['yard', ['ground'], [[1, 2, 3]], '', False]))
    assert is_converted(tmp_path / 'out') and not is_converted(tmp_path)
    names = [path.relative_to(tmp_path).as_posix() for path in files_in(tmp_path, ('.jpg', '.png'))]
    assert names == ['a.png', 'b/a.jpg', 'b/c.JPG']


def test_only_what_a_conversion_wrote_is_not_searched(tmp_path: Path) -> None:
    touch(*(tmp_path / 'out' / name for name in ('a.jpg', 'images/a.jpg', 'train/a.jpg', 'train/images/a.jpg',
                                                 'val/labels/a.jpg', 'raw/images/a.jpg')))
    (tmp_path / 'out' / '.unfinished.jsonl').write_text(json.dumps(['yard', ['ground'], [[1, 2, 3]], '', False]))
    names = {path.relative_to(tmp_path / 'out').as_posix() for path in files_in(tmp_path, ('.jpg',))}
    assert names == {'a.jpg', 'images/a.jpg', 'train/a.jpg', 'raw/images/a.jpg'}
    names = {path.relative_to(tmp_path / 'out').as_posix() for path in files_in(tmp_path / 'out', ('.jpg',))}
    assert names >= {'train/images/a.jpg', 'val/labels/a.jpg'}  # a prepared dataset that is converted itself


def test_a_dataset_yaml_of_others_hides_no_files(tmp_path: Path) -> None:
    touch(tmp_path / 'images' / 'a.jpg')
    (tmp_path / 'images' / 'dataset.yaml').write_text('names: [box]')
    assert len(list(files_in(tmp_path, ('.jpg',)))) == 1


def test_links_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path / 'a' / 'x.jpg', tmp_path / 'b' / 'y.jpg')
    (tmp_path / 'a' / 'to_b').symlink_to(tmp_path / 'b')
    (tmp_path / 'b' / 'to_a').symlink_to(tmp_path / 'a')
    assert {path.name for path in files_in(tmp_path, ('.jpg',))} == {'x.jpg', 'y.jpg'}


def test_unused_files_are_counted_by_folder(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ('a/1.jpg', 'a/2.jpg', 'a/3.jpg', 'b/1.jpg')))
    (tmp_path / 'b' / 'link.jpg').symlink_to(tmp_path / 'a' / '1.jpg')
    errors = unused_files(tmp_path, [tmp_path / 'b' / '..' / 'a' / '1.jpg'], 'images of no use')
    assert [str(error).partition(':')[0] for error in errors] == [
        f'{tmp_path}/a holds 2 images of no use, for example 2.jpg',
        f'{tmp_path}/b holds 1 images of no use, for example 1.jpg',
    ]
