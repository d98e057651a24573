// Bars of the last cycle times, with their median.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 600, HEIGHT = 180, LEFT = 84, BOTTOM = 22, TOP = 12;

function shape(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function drawChart(svg, note, cycles) {
  if (!cycles.length) {
    svg.replaceChildren();
    note.textContent = "No cycle has ended yet.";
    return;
  }
  const times = cycles.map((cycle) => cycle.took_s);
  const highest = Math.max(...times, 1e-3);
  const y = (seconds) => HEIGHT - BOTTOM - (seconds / highest) * (HEIGHT - BOTTOM - TOP);
  const slot = (WIDTH - LEFT) / Math.max(cycles.length, 10);
  const shapes = [];
  for (const share of [0, 0.5, 1]) {
    const level = y(share * highest);
    shapes.push(shape("line", { class: "rule", x1: LEFT, x2: WIDTH, y1: level, y2: level }));
    shapes.push(shape("text", { x: LEFT - 6, y: level + 4, "text-anchor": "end" }, `${(share * highest).toPrecision(3)} s`));
  }
  cycles.forEach((cycle, i) => {
    const top = y(cycle.took_s);
    const bar = shape("rect", { class: "bar", x: LEFT + i * slot + slot * 0.15, y: top, width: slot * 0.7, height: HEIGHT - BOTTOM - top });
    bar.append(shape("title", {}, `cycle ${cycle.cycle}: ${cycle.took_s.toFixed(1)} s`));
    shapes.push(bar);
  });
  const middle = median(times);
  shapes.push(shape("line", { class: "median", x1: LEFT, x2: WIDTH, y1: y(middle), y2: y(middle) }));
  shapes.push(shape("text", { x: LEFT + slot / 2, y: HEIGHT - 6, "text-anchor": "middle" }, cycles[0].cycle));
  if (cycles.length > 1) {
    const last = LEFT + (cycles.length - 0.5) * slot;
    shapes.push(shape("text", { x: last, y: HEIGHT - 6, "text-anchor": "middle" }, cycles.at(-1).cycle));
  }
  svg.replaceChildren(...shapes);
  note.textContent = `${cycles.length} cycles, median ${middle.toFixed(1)} s, last ${times.at(-1).toFixed(1)} s`;
}
