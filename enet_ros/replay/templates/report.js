'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
const byId = (id) => document.getElementById(id);

// Create an element. Text is never read as HTML.
function make(tag, text = '', attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function digits(value, places) {
  return value === null ? '–' : value.toFixed(places);
}

// --- charts ---
const touch = matchMedia('(pointer: coarse)').matches;
const options = { responsive: true, displaylogo: false, displayModeBar: touch ? false : 'hover',
  modeBarButtons: [['toImage', 'zoom2d', 'pan2d', 'resetScale2d']] };

function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const changed = { ...layout, font: { color: color('--text'), family: 'system-ui, sans-serif', size: 13 },
    modebar: { bgcolor: 'rgba(0,0,0,0)', color: color('--soft'), activecolor: color('--text') },
    hoverlabel: { bgcolor: color('--panel'), bordercolor: color('--line'), font: { color: color('--text') } } };
  if (touch) changed.dragmode = false; // a finger on a chart scrolls the page
  for (const name of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
    changed[name] = { ...layout[name], gridcolor: color('--line'), linecolor: color('--line'), zerolinecolor: color('--line'),
      tickcolor: color('--line') };
  }
  return changed;
}

function draw(place) {
  const chart = data.charts[place.dataset.chart];
  Plotly.react(place, chart.data, themed(chart.layout), options).then(() => {
    if (place.dataset.drawn) return;
    place.dataset.drawn = 'yes';
    place.on('plotly_click', (event) => {
      const point = event.points.find((each) => each.data.meta === 'pictures');
      if (point) showPicture(point.customdata, true);
    });
  });
}

function drawVisible() {
  all('.chart').filter((place) => !place.closest('[hidden]')).forEach(draw);
}

// --- theme ---
const prefersDark = matchMedia('(prefers-color-scheme: dark)');
const isDark = () => (document.documentElement.dataset.theme || (prefersDark.matches ? 'dark' : 'light')) === 'dark';

function applyTheme() {
  byId('theme').textContent = isDark() ? 'Light theme' : 'Dark theme';
  drawVisible();
}

byId('theme').hidden = false;
byId('theme').addEventListener('click', () => {
  document.documentElement.dataset.theme = isDark() ? 'light' : 'dark';
  applyTheme();
});
prefersDark.addEventListener('change', applyTheme);

// --- bags ---
byId('bag')?.addEventListener('change', (event) => {
  for (const block of all('.bag')) block.hidden = block.dataset.bag !== event.target.value;
  drawVisible();
});

// --- confusion matrix ---
const cellButton = (row, column) => document.querySelector(`#matrix button[data-row="${row}"][data-column="${column}"]`);

function chooseCell(row, column) {
  const cell = data.confusion[row][column], list = byId('confused');
  for (const button of all('#matrix button')) {
    const chosen = button === cellButton(row, column);
    button.setAttribute('aria-pressed', chosen);
    button.tabIndex = chosen ? 0 : -1;
  }
  const share = cell.share === null ? '' : ` (${(100 * cell.share).toFixed(2)} % of ${cell.true})`;
  list.replaceChildren(make('h3', cell.right ? `${cell.true} labelled right` : `${cell.true} predicted as ${cell.predicted}`),
    make('p', `${cell.pixels.toLocaleString('en')} pixels${share}.`));
  if (!cell.frames.length) {
    list.append(make('p', cell.right ? 'Frames are listed for confusions only: choose a cell off the diagonal.'
      : 'There is no frame with this confusion.'));
    return;
  }
  const table = make('table'), head = table.createTHead().insertRow(), body = table.createTBody();
  for (const title of ['Frame', 'Second', 'Pixels', 'Mean IoU']) head.append(make('th', title, { scope: 'col' }));
  for (const [index, pixels] of cell.frames) {
    const frame = data.frames[index], row = body.insertRow();
    row.dataset.frame = index;
    const name = data.bags > 1 ? `${frame.name}, ${frame.bag}` : frame.name, heading = make('th', '', { scope: 'row' });
    const picture = data.pictures.findIndex((each) => each.frame === index);
    if (picture >= 0) {
      const button = make('button', name, { type: 'button', title: 'Show the picture' });
      button.addEventListener('click', () => showPicture(picture, true));
      heading.append(button);
    } else heading.textContent = name;
    row.append(heading);
    for (const text of [digits(frame.seconds, 2), pixels.toLocaleString('en'), digits(frame.mean_iou, 4)]) {
      row.append(make('td', text, { class: 'n' }));
    }
  }
  const scroll = make('div', '', { class: 'scroll' });
  scroll.append(table);
  list.append(scroll);
}

for (const button of all('#matrix button, .choose')) {
  button.addEventListener('click', () => chooseCell(Number(button.dataset.row), Number(button.dataset.column)));
}
if (byId('matrix')) {
  const first = document.querySelector('.choose'); // the largest confusion
  if (first) chooseCell(Number(first.dataset.row), Number(first.dataset.column));
}
byId('matrix')?.addEventListener('keydown', (event) => {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  const { row, column } = event.target.dataset;
  const next = step && cellButton(Number(row) + step[0], Number(column) + step[1]);
  if (!step) return;
  event.preventDefault();
  if (!next) return;
  event.target.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
});

// --- pictures ---
const slider = byId('slider');

function slide() {
  const position = Number(slider.value), layers = all('#stage img'), last = layers.length - 1;
  layers.forEach((layer, index) => {
    if (index) layer.style.opacity = Math.max(0, 1 - Math.abs(position - index)); // one layer fades into the next
  });
  const grey = layers[last].alt === 'difference' ? Math.max(0, position - last + 1) : 0;
  layers[0].style.filter = `grayscale(${grey}) brightness(${1 - 0.4 * grey})`; // wrong pixels stand out
  const low = Math.floor(position), part = Math.round(100 * (position - low)), names = layers.map((layer) => layer.alt);
  slider.setAttribute('aria-valuetext', part ? `${100 - part} % ${names[low]}, ${part} % ${names[low + 1]}` : names[low]);
  all('#stops button').forEach((button, index) => button.setAttribute('aria-pressed', index === position));
}

function showPicture(number, scroll = false) {
  const picture = data.pictures[number];
  byId('stage').replaceChildren(...picture.layers.map((layer) => make('img', '', { src: layer.source, alt: layer.title })));
  byId('stops').replaceChildren(...picture.layers.map((layer, index) => {
    const button = make('button', layer.title, { type: 'button' });
    button.addEventListener('click', () => { slider.value = index; slide(); });
    return button;
  }));
  slider.max = picture.layers.length - 1;
  byId('picture-text').textContent = `${picture.kind} ${picture.rank}: ${picture.name}, ${picture.bag}, `
    + `${picture.seconds.toFixed(2)} s. Mean IoU ${digits(picture.mean_iou, 4)}, accuracy ${digits(picture.accuracy, 4)}, `
    + `confidence ${digits(picture.confidence, 4)}, label flips ${digits(picture.flips, 4)}.`;
  all('#strip button').forEach((button, index) => button.setAttribute('aria-pressed', index === number));
  slide();
  if (scroll) {
    byId('frames').scrollIntoView();
    document.querySelector(`#strip [data-picture="${number}"]`).focus();
  }
}

if (slider) {
  all('#strip button').forEach((button, number) => {
    button.querySelector('img').src = data.pictures[number].layers[0].source;
    button.addEventListener('click', () => showPicture(number));
  });
  slider.addEventListener('input', slide);
  showPicture(0);
}

applyTheme();
