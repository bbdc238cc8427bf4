"""The page of a report, in headless Chromium where it matters."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from replay_results import CONFIGURATION, LABELS, MODEL, bag, frame, report_of, result, without_truth

from enet_ros.errors import EnetError
from enet_ros.labels import LabelSet
from enet_ros.network.architecture import ENetArchitecture
from enet_ros.replay.compare import compare
from enet_ros.replay.criteria import parse_fail_under
from enet_ros.replay.page import check_page_packages, render_page
from enet_ros.replay.page_pictures import BagPictures
from enet_ros.replay.report import build_report
from enet_ros.replay.results import Coverage, Picture, ReplayResult
from enet_ros.replay.verdict import judge

if TYPE_CHECKING:
    from playwright.sync_api import Browser

EVIL = '<script>document.title = "run"</script></script><!-- & &amp; <b>bold</b> "{{ 1 }}" %{x}'


def picture(index: int, truth: bool = True, size: tuple[int, int] = (48, 64), noise: bool = False) -> Picture:
    noisy = np.random.default_rng(index).integers(0, 255, (*size, 3), np.uint8)
    image = noisy if noise else np.full((*size, 3), 90, np.uint8)
    png = cv2.imencode('.png', cv2.cvtColor(image, cv2.COLOR_BGR2BGRA))[1].tobytes()
    return Picture(index, cv2.imencode('.jpg', image)[1].tobytes(), png, png if truth else None, png if truth else None)


def pictures(*frames: int, **options: object) -> BagPictures:
    half = (len(frames) + 1) // 2
    return [picture(index, **options) for index in frames[:half]], [picture(index, **options) for index in frames[half:]]


def long_result(frames: int) -> ReplayResult:
    rng = np.random.default_rng(0)
    results = tuple(replace(frame(number), mean_iou=float(rng.random())) for number in range(frames))
    return result(frames=results, coverage=Coverage(frames, frames, 0, frames, 0, 0),
                  timing={'latency_ms': rng.gamma(9, 2, frames).tolist(), 'seconds': frames / 40})


def write(folder: Path, report: dict[str, Any], shown: list[BagPictures] | None = None) -> Path:
    path = folder / 'report.html'
    page = render_page(report, shown if shown is not None else [pictures(0, 1, 2) for _ in report['bags']])
    path.write_text(page, 'utf-8', 'replace')
    return path


@pytest.fixture(scope='module')
def browser() -> Iterator[Browser]:
    program = shutil.which('chromium') or shutil.which('google-chrome')
    if not program:
        pytest.skip('needs Chromium: apt install chromium')
    playwright = pytest.importorskip('playwright.sync_api', reason='needs playwright: scripts/test.sh installs it')
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=['--no-sandbox'])  # it refuses root with one
        yield browser
        browser.close()


class Opened:
    """A page that was opened from disk, with what the browser complained about."""

    def __init__(self, browser: Browser, path: Path, **options: object) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page = browser.new_page(**options)
        self.page.on('console', lambda message: self.complaints.append(message.text))
        self.page.on('pageerror', lambda error: self.complaints.append(str(error)))
        self.page.on('request', lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_function("[...document.querySelectorAll('.chart')]"
                                    ".every((e) => e.dataset.drawn || e.closest('[hidden]'))")

    def loads(self) -> list[str]:
        """Return what was requested, without data inside the page."""
        return [url for url in self.requests if not url.startswith(('data:', 'blob:'))]


Open = Callable[..., Opened]


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    pages = []

    def open_page(report: dict[str, Any], shown: list[BagPictures] | None = None, **options: object) -> Opened:
        pages.append(Opened(browser, write(tmp_path, report, shown), **options))
        return pages[-1]

    yield open_page
    for one in pages:
        one.page.close()


def compared_report() -> dict[str, Any]:
    report, other = report_of(result(latency=24)), report_of(result(ious=(0.5, 0.6, 0.7, 0.9)))
    judge(report, parse_fail_under('mean_iou=0.99,p99_ms=80', LABELS.names), None, compare(report, other))
    return report


def test_the_page_loads_nothing_and_reports_no_error(opened: Open, tmp_path: Path) -> None:
    page = opened(compared_report())
    assert page.complaints == []
    assert page.loads() == [(tmp_path / 'report.html').as_uri()]


def test_key_figures_and_criteria_equal_the_report(opened: Open) -> None:
    report = compared_report()
    page = opened(report).page
    figures = {element.get_attribute('data-figure'): float(element.locator('data').get_attribute('value'))
               for element in page.locator('[data-figure]').all()}
    assert figures['mean_iou'] == report['metrics']['pooled']['mean_iou']
    assert figures['frame_mean_iou'] == report['metrics']['mean_over_frames']['mean_iou']
    assert figures['p99_ms'] == report['timing']['latency_ms']['p99']
    assert figures['frames'] == report['frames_out']
    assert page.locator('#verdict h2').text_content() == 'Failed'
    rows = page.locator('#verdict tbody tr').all()
    assert {row.locator('th').text_content() for row in rows} == {one['criterion'] for one in report['verdict']['criteria']}
    assert 'mean_iou must be at least 0.99' in rows[0].text_content()  # failed ones first
    latency = page.locator('.cards > div', has=page.locator('[data-figure=p50_ms]')).text_content()
    assert '+4.00 ms' in latency and 'worse' in latency


def test_charts_have_the_figures_of_the_report(opened: Open) -> None:
    report = report_of(result(), result(bag('other.mcap', '2'), ious=(0.3, None, 0.5)))
    page = opened(report, [pictures(1), pictures(0)]).page

    def points(chart: str, trace: int) -> tuple[list[float], list[float]]:
        x, y = page.evaluate(f"(() => {{ const t = document.querySelector('[data-chart={chart}]')._fullData[{trace}];"
                             ' return [Array.from(t.x), Array.from(t.y)]; })()')
        return x, y

    ious = [values['iou'] for values in report['metrics']['pooled']['classes'].values()]
    assert points('classes', 0)[0] == ious
    seconds, values = points('time-0', 0)
    assert seconds == pytest.approx(report['frames']['seconds'][:4])
    assert values == pytest.approx(report['frames']['mean_iou'][:4])
    assert sum(points('latency', 0)[1]) == len(report['timing']['frames_ms'])
    assert sum(points('confidence', 0)[1]) == pytest.approx(1)
    page.locator('#bag').select_option('1')
    page.wait_for_function("document.querySelector('[data-chart=time-1]').dataset.drawn")
    seconds, values = points('time-1', 0)
    assert seconds == pytest.approx([0, 0.2]) and values == pytest.approx([0.3, 0.5])  # without the frame that has none
    assert page.locator('.bag[data-bag="0"]').is_hidden()


def test_confusion_cells_list_frames_by_mouse_and_keyboard(opened: Open) -> None:
    report = report_of()
    page = opened(report, [pictures(2, 0)]).page
    page.locator('#matrix button[data-row="1"][data-column="0"]').click()
    assert 'Road predicted as Sky' in page.locator('#confused h3').text_content()
    assert '10 pixels (10.00 % of Road)' in page.locator('#confused').text_content()
    page.keyboard.press('ArrowUp')
    page.keyboard.press('ArrowRight')
    page.keyboard.press('Enter')
    assert page.locator('#confused h3').text_content() == 'Sky predicted as Road'
    listed = page.evaluate("[...document.querySelectorAll('#confused [data-frame]')].map((row) => "
                           '[Number(row.dataset.frame), row.cells[2].textContent])')
    assert listed == [[2, '12'], [0, '8']]
    page.locator('#confused button').first.click()
    assert report['frames']['name'][2] in page.locator('#picture-text').text_content()


def test_the_slider_fades_through_the_layers(opened: Open) -> None:
    page = opened(report_of(), [pictures(2, 0)]).page

    def opacities() -> list[float]:
        return page.evaluate("[...document.querySelectorAll('#stage img')].slice(1).map((e) => Number(e.style.opacity))")

    assert page.locator('#stage img').evaluate_all('all => all.every((e) => e.naturalWidth === 64)')
    assert opacities() == [0.5, 0, 0]
    page.locator('#slider').focus()
    page.keyboard.press('End')
    assert opacities() == [0, 0, 1]
    page.get_by_role('button', name='ground truth').click()
    assert opacities() == [0, 1, 0]
    assert page.locator('#slider').get_attribute('aria-valuetext') == 'ground truth'
    page.locator('#strip button').nth(1).click()
    assert 'typical 1' in page.locator('#picture-text').text_content()


def test_what_is_missing_is_said_in_words(opened: Open) -> None:
    truthless = replace(without_truth(), confidence_histogram=None, timing={'latency_ms': [None, None], 'seconds': 0.0},
                        frames=tuple(replace(frame(number, None, None), confidence=None) for number in range(2)),
                        coverage=Coverage(3, 2, 1, 0, 2, 0, ('1 image is damaged',)))
    report = report_of(truthless, failed=[('broken.mcap', EnetError('it has no index'))])
    ignored = [{'start': 0, 'end': 2.5, 'reason': 'dark'}, {'start': 1, 'end': 2, 'bag': 'drvie.mcap'}]
    report['criteria'] = {'fail_under': None, 'allow': None, 'file': {'ignore': ignored}}
    page = opened(report, [pictures(0, truth=False)])
    text = page.page.locator('body').inner_text()
    for words in ('No criteria, incomplete input', 'broken.mcap was not evaluated: it has no index', '1 image is damaged',
                  'Frames of every bag from 0 s to 2.5 s do not count: dark', 'There is no ground truth',
                  'Name a topic with labels', 'ignores drvie.mcap from 1 s to 2 s, but no bag has this name',
                  'There is no confidence', 'There are no label flips', 'There is no latency'):
        assert words in text
    assert page.page.locator('.chart').evaluate_all('all => all.map((e) => e.dataset.chart)') == ['share-0']
    assert page.page.locator('#slider').get_attribute('max') == '1'  # image and labels
    assert page.complaints == []


def test_ground_truth_that_is_void_is_not_taken_for_a_missing_topic() -> None:
    report = report_of(result(ious=(None,), confusion=np.zeros((3, 4)), confusion_frames={},
                              coverage=Coverage(1, 1, 0, 1, 0, 0)))
    page = render_page(report, [([], [])])
    assert 'or only void pixels' in page and 'Name a topic' not in page


def test_a_model_that_was_trained_on_the_images_is_called_so() -> None:
    for seen in (['camvid (val)'], []):
        page = render_page(report_of(trained_on=seen), [([], [])])
        assert ('was trained on images of camvid (val)' in page) is bool(seen)


def test_a_report_without_bags_has_a_page(opened: Open) -> None:
    report = build_report((), [('broken.mcap', EnetError('no index'))], MODEL, CONFIGURATION, 'offline')
    judge(report)
    page = opened(report, [])
    assert page.page.locator('#verdict h2').text_content() == 'Failed, incomplete input'
    assert page.complaints == []


def test_foreign_text_stays_text(opened: Open) -> None:
    labels = LabelSet((EVIL.replace(',', ''), *LABELS.names[1:]), LABELS.colors)
    model = replace(MODEL, info=replace(MODEL.info, labels=labels))
    report = build_report([result(bag(EVIL))], [(EVIL, EnetError(EVIL))], model, CONFIGURATION, 'offline')
    page = opened(report)
    assert page.complaints == []
    assert page.page.title() == f'Replay of {EVIL}'
    assert page.page.locator('#matrix tbody th').first.text_content() == labels.names[0]
    assert labels.names[0] in page.page.locator('[data-chart=classes] .ytick text').all_text_contents()
    page.page.locator('#matrix button[data-row="0"][data-column="1"]').click()
    assert page.page.locator('#confused h3').text_content() == f'{labels.names[0]} predicted as Road'


def test_a_live_report_shows_stages_drops_and_load(opened: Open) -> None:
    report = report_of(result(), result(bag('other.mcap', '2')), mode='live')
    judge(report, parse_fail_under('p99_ms=80,jitter_ms=1', LABELS.names))
    page = opened(report)
    assert page.complaints == []
    shown = {}
    for cell in page.page.locator('[data-live]').all():
        value = cell.locator('data')
        shown[cell.get_attribute('data-live')] = float(value.get_attribute('value')) if value.count() else None
    live, expected = report['timing']['live'], {}
    for key, value in live.items():
        inner = value if isinstance(value, dict) else {'': value}
        for name, part in inner.items():
            for last, figure in (part if isinstance(part, dict) else {'': part}).items():
                expected[' '.join(filter(None, (key, name, last)))] = figure
    assert shown == expected
    ends = page.page.locator('#latency tr', has_text='image sent to labels received').locator('data')
    assert [float(end.get_attribute('value')) for end in ends.all()] == [
        report['timing']['latency_ms'][name] for name in ('p50', 'p99')]
    assert float(page.page.locator('[data-figure=jitter_ms] data').get_attribute('value')) == live['jitter_ms']
    text = page.page.locator('main').inner_text()
    assert 'Time from an image to its labels: between the messages, through the node.' in text
    assert 'jitter_ms is 1.5: must be at most 1' in text


def test_the_theme_follows_the_system_and_the_button(opened: Open) -> None:
    page = opened(report_of(), color_scheme='dark').page
    dark = page.evaluate('getComputedStyle(document.body).backgroundColor')
    page.locator('#theme').click()
    light = page.evaluate('getComputedStyle(document.body).backgroundColor')
    assert (dark, light) == ('rgb(20, 23, 26)', 'rgb(255, 255, 255)')
    assert page.evaluate("document.querySelector('[data-chart=classes]').layout.font.color") == '#1a1d21'


def test_a_phone_does_not_scroll_sideways(opened: Open) -> None:
    page = opened(compared_report(), viewport={'width': 390, 'height': 844}, has_touch=True).page
    assert page.evaluate('document.documentElement.scrollWidth') == 390


def test_every_control_has_a_name_and_takes_focus(opened: Open) -> None:
    page = opened(report_of(result(), result(bag('other.mcap', '2')))).page
    nameless = page.evaluate("""[...document.querySelectorAll('button, select, input')].filter((e) => e.checkVisibility()
        && !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).length""")
    assert nameless == 0
    reached = set()
    for _ in range(60):
        page.keyboard.press('Tab')
        reached.add(page.evaluate("document.activeElement.closest('[id]')?.id"))
    assert {'theme', 'matrix', 'bag', 'strip', 'slider'} <= reached


def test_ten_thousand_frames_stay_under_15_mb(opened: Open, tmp_path: Path) -> None:
    shown = pictures(*range(0, 10_000, 500), size=(480, 640), noise=True)
    page = opened(report_of(long_result(10_000)), [shown])
    assert (tmp_path / 'report.html').stat().st_size < 15_000_000
    text = page.page.locator('main').inner_text()
    assert re.search(r'Each line shows at most 6,000 of them', text)
    assert re.search(r'\d+ more pictures are left out', text)
    drawn = page.page.evaluate("Array.from(document.querySelector('[data-chart=time-0]')._fullData[0].y)")
    assert 5000 < len(drawn) <= 6000
    assert min(drawn) == pytest.approx(min(long_result(10_000).frames, key=lambda one: one.mean_iou).mean_iou, abs=1e-6)
    assert page.complaints == []


def test_pictures_make_room_for_what_many_bags_need(monkeypatch: pytest.MonkeyPatch) -> None:
    report, shown = report_of(), [pictures(0, 1, 2, size=(240, 320), noise=True)]
    whole, bare = len(render_page(report, shown)), len(render_page(report, [([], [])]))
    for most in (whole - 1, (whole + bare) // 2, bare + 1000):
        monkeypatch.setattr('enet_ros.replay.page.PAGE_BYTES', most)
        page = render_page(report, shown)
        assert len(page) < most and re.search(r'\d (more )?pictures are left out', page)


def many_classes(count: int) -> dict[str, Any]:
    """Return a report of a model with many classes. The last one is never true, but half of all is predicted as it."""
    labels = LabelSet(tuple(f'class {number}' for number in range(count)), ((1, 2, 3),) * count)
    model = replace(MODEL, info=replace(MODEL.info, labels=labels, architecture=ENetArchitecture(count)))
    confusion = np.zeros((count, count + 1), np.int64)
    pixels = np.arange(count, 1, -1)
    confusion[range(count - 1), range(count - 1)] = confusion[:-1, -2] = pixels
    shares = tuple(np.arange(count, 0, -1) / np.arange(count + 1).sum())
    frames = tuple(replace(frame(number), class_share=shares) for number in range(450))
    return build_report([result(frames=frames, confusion=confusion, coverage=Coverage(450, 450, 0, 450, 0, 0),
                                timing={'latency_ms': [1.0] * 450, 'seconds': 1.0},
                                confusion_frames={(0, count - 1): ((3, 9),), (count - 2, count - 1): ((4, 1),)})],
                        [], model, CONFIGURATION, 'offline')


def test_many_classes_stay_readable(opened: Open) -> None:
    opened_page = opened(many_classes(60), [pictures(0)], viewport={'width': 1280, 'height': 800})
    page = opened_page.page
    assert opened_page.complaints == []
    shown = page.locator('#matrix thead th').all_text_contents()
    assert len(shown) == 40 and shown[0] == 'class 0' and shown[-1] == 'class 59'  # many pixels are predicted as it
    assert 'The matrix shows the 40 of 60 classes' in page.locator('#confusion').inner_text()
    assert page.locator('#confused h3').text_content() == 'class 0 predicted as class 59'
    # the headings stay at the edges of the matrix, beside the last cell
    page.locator('#matrix button[data-row="39"][data-column="39"]').focus()
    box, head, side, edge = (page.locator(place).bounding_box() for place in (
        '#matrix button:focus', '#matrix thead th:last-child', '#matrix tbody tr:last-child th', '.matrix'))
    assert head['y'] == pytest.approx(edge['y'], abs=1) and head['y'] + head['height'] <= box['y'] + 1
    assert side['x'] == pytest.approx(edge['x'], abs=1) and side['x'] + side['width'] <= box['x'] + 1
    assert edge['height'] < 800 and box['y'] + box['height'] <= edge['y'] + edge['height'] + 1
    areas = page.evaluate("document.querySelector('[data-chart=share-0]')._fullData"
                          '.map((trace) => [trace.name, trace.y.length, trace.y[0]])')
    assert len(areas) == 21 and areas[0][:2] == ['class 0', 150] and areas[-1][0] == '40 other classes'
    assert sum(values[2] for values in areas) == pytest.approx(1)


@pytest.mark.parametrize(('module', 'package'), [('jinja2', 'Jinja2'), ('plotly', 'plotly')], ids=['jinja2', 'plotly'])
def test_a_missing_package_is_named(module: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('enet_ros.replay.page.find_spec', lambda name: None if name == module else sys)
    with pytest.raises(EnetError, match=f'pip install {package}$'):
        check_page_packages()
