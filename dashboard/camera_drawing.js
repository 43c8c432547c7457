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

function drawFace(pen, area, look, face, { mirror, guide }, ok) {
  const [bx, by, bw, bh] = face.at;
  const x = area.x + (mirror ? 1 - bx - bw : bx) * area.w;
  const [y, w, h] = [area.y + by * area.h, bw * area.w, bh * area.h];
  const hue = look[face.decision] ?? (ok ? look.match : look.unknown);
  pen.beginPath();
  pen.roundRect(x, y, w, h, 8);
  outline(pen, hue, look);
  if (!guide) drawLabel(pen, area, look, face, hue, x, y, y + h);
}

function drawLabel(pen, area, look, face, hue, left, top, bottom) {
  const similarity = face.similarity == null ? "" : `  ${face.similarity.toFixed(2)}`;
  const word = WORD[face.decision] ? ` · ${WORD[face.decision]}` : "";
  const text = `${face.label}${similarity}${word}`;
  pen.font = `600 15px ${look.font || "sans-serif"}`;
  const width = pen.measureText(text).width + 38;
  const x = Math.max(area.x, Math.min(left - 1, area.x + area.w - width));
  const y = top - 32 >= area.y ? top - 32 : Math.min(bottom + 4, area.y + area.h - 28);
  pen.fillStyle = look.page;
  pen.beginPath();
  pen.roundRect(x, y, width, 28, 6);
  pen.fill();
  pen.fillStyle = hue;
  pen.fillText(SHAPE[face.decision] ?? SHAPE.unknown, x + 10, y + 19);
  pen.fillStyle = look.text;
  pen.fillText(text, x + 28, y + 19);
}
