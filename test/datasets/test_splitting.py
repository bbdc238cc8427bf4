from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from enet_ros.datasets.source import Pair
from enet_ros.datasets.splitting import (
    UNSPLIT,
    Choice,
    by_prefix,
    by_share,
    find_pairs,
    hold_out,
    is_held_out,
    split_by_prefix,
)
from enet_ros.errors import DatasetError


def pairs_of(*names: str) -> list[Pair]:
    return [Pair.of(Path(f'{name}.jpg'), Path(f'{name}.png')) for name in names]


def held_out(names: list[str], choice: Choice | None) -> set[str]:
    """Return the names that are held out of undivided images."""
    splits = hold_out({UNSPLIT: pairs_of(*names)}, choice)
    assert list(splits) == ['train', 'val']
    train, val = ({pair.name for pair in splits[split]} for split in ('train', 'val'))
    assert train | val == set(names) and not train & val
    return val


def test_items_are_divided_by_the_prefix_of_their_names() -> None:
    assert split_by_prefix([10, 21, 12, 30], ['1', '30'], str) == ([21], [10, 12, 30])
    assert is_held_out('drive3_7', ['drive1', 'drive3_']) and not is_held_out('drive3_7', ['drive30', '7'])
    assert not is_held_out('drive3_7', [])


@pytest.mark.parametrize(('prefixes', 'reason'), [
    (['a_', 'c_'], r'"c_".* for example a_1'), (['a_', 'b_'], r'all 2 images'), ([''], r'all 2 images'),
], ids=['no such name', 'all names', 'empty'])
def test_prefixes_that_match_nothing_or_everything_are_refused(prefixes: list[str], reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        split_by_prefix(['a_1', 'b_1'], prefixes, str)
    with pytest.raises(DatasetError, match=reason):
        hold_out({'train': pairs_of('a_1', 'b_1')}, by_prefix(prefixes))


def test_a_fifth_of_undivided_images_is_held_out_by_default() -> None:
    names = [f'frame{number:02}' for number in range(20)]
    val = held_out(names, None)
    assert len(val) == 4
    # neither the end of the video nor every fifth image, which would look like its neighbours in train
    assert val not in ({*names[-4:]}, {*names[:4]}, {*names[::5]})


def test_a_share_is_the_same_in_any_order_and_changes_little_with_more_images() -> None:
    names = [f'frame{number:02}' for number in range(20)]
    val = held_out(names, by_share(0.2))
    assert held_out(names[::-1], by_share(0.2)) == val
    assert len(held_out([*names, 'frame20', 'frame21'], by_share(0.2)) & val) >= 3


@pytest.mark.parametrize(('choice', 'count'), [
    (by_share(0.5), 2), (by_share(0.01), 1), (by_prefix(['b_']), 1), (by_prefix(['b_', 'a_2']), 2),
], ids=['half', 'at least one', 'prefix', 'prefixes'])
def test_validation_images_can_be_chosen(choice: Choice, count: int) -> None:
    assert len(held_out(['a_1', 'a_2', 'a_3', 'b_1'], choice)) == count


def test_a_share_that_leaves_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(DatasetError, match=r'all 2 images'):
        hold_out({UNSPLIT: pairs_of('a', 'b')}, by_share(0.9))


def test_existing_splits_are_kept() -> None:
    splits = {'val': pairs_of('c'), 'train': pairs_of('a', 'b')}
    assert hold_out(splits, None) == splits
    with pytest.raises(DatasetError, match=r'already split into train, val'):
        hold_out(splits, by_share(0.5))
    with pytest.raises(DatasetError, match=r'already split into test'):
        hold_out({'test': pairs_of('d')}, by_share(0.5))
    assert list(hold_out({'train': pairs_of('a', 'b'), 'test': pairs_of('d')}, by_share(0.5))) == ['train', 'test', 'val']


def find(root: Path) -> dict[str, list[str]]:
    """Find text files as if each were an image."""
    holds: Callable[[Path], bool] = lambda folder: any(folder.glob('*.txt'))  # noqa: E731
    found = find_pairs(root, 'texts', holds, lambda folder: pairs_of(*(path.stem for path in folder.glob('*.txt'))),
                       holds(root))
    return {split: sorted(pair.name for pair in pairs) for split, pairs in found.items()}


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_folders_of_many_names_are_splits(tmp_path: Path) -> None:
    touch(tmp_path, 'Training/a.txt', 'train/b.txt', 'valid/c.txt', 'validation/d.txt', 'val/e.txt', 'TESTING/f.txt',
          'test/g.txt')
    assert find(tmp_path) == {'train': ['a', 'b'], 'val': ['c', 'd', 'e'], 'test': ['f', 'g']}


def test_a_folder_without_splits_is_undivided_whatever_else_it_holds(tmp_path: Path) -> None:
    touch(tmp_path, 'a.txt', 'raw/b.txt', '.trash/c.txt', '__MACOSX/d.txt', 'train/notes.pdf')
    assert find(tmp_path) == {UNSPLIT: ['a']}


def test_folders_of_systems_and_editors_are_not_splits(tmp_path: Path) -> None:
    touch(tmp_path, 'train/a.txt', '.trash/c.txt', '__MACOSX/d.txt', 'docs/notes.pdf')
    assert find(tmp_path) == {'train': ['a']}


@pytest.mark.parametrize(('more', 'reason'), [
    ('train_old/b.txt', r'train_old holds texts but is not named after a split \(train, training, val'),
    ('b.txt', r'both .* and its folder train hold texts'), ('val/b.pdf', r'no texts in .*val'),
], ids=['in a folder of another name', 'beside the splits', 'in an empty split'])
def test_images_that_are_in_no_split_are_named(more: str, reason: str, tmp_path: Path) -> None:
    touch(tmp_path, 'train/a.txt', more)
    with pytest.raises(DatasetError, match=reason):
        find(tmp_path)
