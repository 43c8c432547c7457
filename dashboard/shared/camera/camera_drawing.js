// What is drawn above the video: faces with their labels, and the oval to look into. `look` holds the theme's
// colours; a decision always has a colour, a shape and a word.

const SHAPE = { match: "✓", review: "?", unknown: "–" };
const WORD = { match: "match", review: "review", unknown: "" };
const COLOURS = {
  match: "--st-green-color",
  review: "--st-orange-color",
  unknown: "--st-gray-color",
  page: "--st-background-color",
  text: "--st-text-color",
  font: "--st-font",
};

function readLook(root) {
  const style = getComputedStyle(root);
  return Object.fromEntries(
    Object.entries(COLOURS).map(([name, variable]) => [name, style.getPropertyValue(variable).trim()])
  );
}

function fit(width, height, roomX, roomY) {
  const scale = Math.min(roomX / width, roomY / height);
  const [w, h] = [width * scale, height * scale];
  return { x: (roomX - w) / 2, y: (roomY - h) / 2, w, h };
}

function drawOval(pen, area, look, ok) {
  pen.setLineDash(ok ? [] : [10, 8]);
  pen.beginPath();
  pen.ellipse(area.x + area.w / 2, area.y + area.h * 0.47, area.h * 0.27, area.h * 0.37, 0, 0, 2 * Math.PI);
  outline(pen, ok ? look.match : look.unknown, look);
  pen.setLineDash([]);
}

function outline(pen, hue, look) {
  // A rim in the page's colour keeps the line visible on any picture.
  for (const [width, colour] of [[6, look.page], [3, hue]]) {
    pen.lineWidth = width;
    pen.strokeStyle = colour;
    pen.stroke();
  }
}

function drawFaces(pen, area, look, faces, { mirrored, labelled, ok }) {
  const several = faces.length > 1;
  const boxes = faces.map((face) => {
    const [bx, by, w, h] = face.at;
    const x = area.x + (mirrored ? 1 - bx - w : bx) * area.w;
    return { x, y: area.y + by * area.h, w: w * area.w, h: h * area.h };
  });
  faces.forEach((face, n) => {
    const { x, y, w, h } = boxes[n];
    const hue = look[face.decision] ?? (ok ? look.match : look.unknown);
    pen.beginPath();
    pen.roundRect(x, y, w, h, 8);
    outline(pen, hue, look);
    if (labelled && several) drawNumber(pen, look, face.number, x, y);
  });
  if (!labelled) return;
  const taken = [];
  faces.forEach((face, n) => {
    const parts = labelOf(pen, look, face, several, area.w);
    if (parts) drawLabel(pen, look, face, parts, place(boxes[n], parts.width, taken, area));
  });
}

function drawNumber(pen, look, number, x, y) {
  // In the box itself, for its label may have had to go elsewhere.
  pen.font = `600 13px ${look.font || "sans-serif"}`;
  const width = pen.measureText(number).width + 10;
  pen.fillStyle = look.page;
  pen.beginPath();
  pen.roundRect(x + 3, y + 3, width, 20, 5);
  pen.fill();
  pen.fillStyle = look.text;
  pen.fillText(number, x + 8, y + 18);
}

const LABEL = { height: 28, gap: 4, left: 28, right: 10 };

function labelOf(pen, look, face, several, room) {
  if (!face.decision && !several) return undefined; // nothing is decided yet
  const number = several ? `${face.number} ` : "";
  const similarity = face.similarity == null ? "" : `  ${face.similarity.toFixed(2)}`;
  const word = WORD[face.decision] ? ` · ${WORD[face.decision]}` : "";
  pen.font = `600 15px ${look.font || "sans-serif"}`;
  const rest = LABEL.left + LABEL.right;
  const text = (name) => `${number}${name}${similarity}${word}`;
  let name = face.label;
  for (let cut = name.length - 1; cut > 0 && pen.measureText(text(name)).width + rest > room; cut -= 1)
    name = `${face.label.slice(0, cut)}…`;
  return { text: text(name), width: Math.min(pen.measureText(text(name)).width + rest, room) };
}

function place(box, width, taken, area) {
  // Above the face or below it; where another label is already, the nearest free line.
  const step = LABEL.height + LABEL.gap;
  const x = Math.max(area.x, Math.min(box.x - 1, area.x + area.w - width));
  const [above, below] = [box.y - step, box.y + box.h + LABEL.gap];
  const lines = [above, below];
  for (let away = step; away < area.h; away += step) lines.push(below + away, above - away, above + away);
  const rooms = lines
    .map((y) => ({ x, y, w: width, h: LABEL.height }))
    .filter(({ y, h }) => y >= area.y && y + h <= area.y + area.h);
  const free = rooms.find((room) => !taken.some((other) => meet(room, other))) ?? rooms[0] ?? { x, y: area.y, w: width };
  taken.push({ ...free, h: LABEL.height });
  return free;
}

function meet(one, other) {
  return (
    one.x < other.x + other.w && other.x < one.x + one.w && one.y < other.y + other.h && other.y < one.y + one.h
  );
}

function drawLabel(pen, look, face, { text, width }, { x, y }) {
  pen.fillStyle = look.page;
  pen.beginPath();
  pen.roundRect(x, y, width, LABEL.height, 6);
  pen.fill();
  pen.fillStyle = look[face.decision] ?? look.unknown;
  pen.fillText(SHAPE[face.decision] ?? "…", x + 10, y + 19);
  pen.fillStyle = look.text;
  pen.fillText(text, x + LABEL.left, y + 19);
}

function spoken(faces) {
  // The verdicts in words, by number: what does not change is not said again.
  return [...faces]
    .filter((face) => face.decision)
    .sort((one, other) => one.number - other.number)
    .map((face) => [faces.length > 1 ? `${face.number}:` : "", face.label, WORD[face.decision]].filter(Boolean).join(" "))
    .join(", ");
}
