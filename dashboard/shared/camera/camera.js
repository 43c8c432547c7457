// The live camera. The video stays in the browser at full rate; only the newest frame travels, one at a
// time, and the answer is drawn on a canvas above the video at the next animation frame.

const FRAME = { width: 640, height: 480, quality: 0.82, every: 50 }; // at most 20 frames a second
const STALE = 2_000; // ms; an older answer or picture is taken off the screen
const PATIENCE = 10_000; // an answer later than this counts as a lost connection, a start as none
const HEAL_EVERY = 3_000; // a camera that is gone is looked for this often
const SMOOTHING = 70; // ms; how quickly a drawn box follows its face
const DRAW_EVERY = 30; // ms; drawing more often than the video has frames shows nothing more

const SAY = {
  starting: ["Starting the camera", "Allow the camera if the browser asks for it."],
  waiting: ["The camera has not started", "Answer the browser's question about the camera, try again, or use a photo."],
  no_picture: ["The camera sends no picture", "See whether it is covered or switched off, try again, or use a photo."],
  denied: ["The camera is blocked", "Allow it in the browser's address bar and try again, or use a photo."],
  no_camera: ["No camera found", "Connect a camera: it starts by itself. You can also use a photo."],
  in_use: ["The camera is busy", "Close the other program that uses it: it starts by itself. You can also use a photo."],
  lost: ["The camera stopped", "Check its cable: it starts again by itself. You can also use a photo."],
  insecure: ["The camera needs a secure address", "Open Robi over HTTPS or on localhost, or use a photo."],
  silent: ["Robi does not answer", "Nobody is recognised meanwhile. It goes on by itself."],
  offline: ["No connection to Robi", "Nobody is recognised meanwhile. Reconnecting …"],
  busy: ["Too many live cameras", "Trying again in a moment. You can also use a photo."],
  expired: ["Renewing the session", "One moment."],
  paused: ["Paused", "The camera starts again when this tab is in front."],
};
const RETRY = new Set(["denied", "no_camera", "in_use", "lost", "waiting", "no_picture"]);
const HEALS = new Set(["no_camera", "in_use", "lost"]); // tried again by itself, without a click

const mounted = new WeakMap();
let speaks; // the camera whose state the page is marked with

export default function camera({ parentElement, data, setStateValue }) {
  let view = mounted.get(parentElement);
  if (!view) {
    view = new Camera(parentElement, (status) => setStateValue("status", status));
    mounted.set(parentElement, view);
  }
  view.report = (status) => setStateValue("status", status);
  view.update(data);
  return () => {
    mounted.delete(parentElement);
    view.close();
  };
}

class Camera {
  constructor(parent, report) {
    this.root = parent.querySelector(".camera");
    this.video = parent.querySelector("video");
    this.canvas = parent.querySelector("canvas");
    this.panel = parent.querySelector(".panel");
    this.coach = parent.querySelector(".coach");
    this.verdict = parent.querySelector(".verdict");
    this.dots = parent.querySelector(".dots");
    this.picker = parent.querySelector("select");
    this.rates = parent.querySelector(".rates");
    this.report = report;
    this.data = {};
    this.boxes = [];
    this.attempt = 0;
    this.shown = 0; // video frames since the rates were last counted
    this.answered = 0;
    this.results = 0;
    this.outbox = document.createElement("canvas");
    this.onHidden = () => (document.hidden ? this.pause() : this.start());
    this.onDevices = () => this.devicesChanged();
    document.addEventListener("visibilitychange", this.onHidden);
    navigator.mediaDevices?.addEventListener?.("devicechange", this.onDevices);
    parent.querySelector(".retry").onclick = () => this.start();
    this.picker.onchange = () => this.choose();
    this.rateTimer = setInterval(() => this.countRates(), 1000);
    this.ageTimer = setInterval(() => this.watchAge(), 200);
    this.start();
  }

  update(data) {
    const renewed = data.token !== this.data.token;
    this.data = data;
    this.mirror();
    if (renewed && this.stream) this.connect();
    if (renewed && this.status === "expired") this.say("starting");
  }

  say(status) {
    if (status === this.status) return;
    this.status = status;
    this.root.dataset.status = status;
    // style.css hides verdicts by this mark: a server that is gone cannot remove what it drew.
    speaks = this;
    document.documentElement.dataset.robiCamera = status;
    const words = SAY[status];
    this.panel.hidden = !words;
    if (words) {
      this.panel.querySelector("strong").textContent = words[0];
      this.panel.querySelector("span").textContent = words[1];
      this.panel.querySelector(".retry").hidden = !RETRY.has(status);
      this.claimNothing();
    }
    this.report(status);
  }

  claimNothing() {
    this.boxes = [];
    this.coach.textContent = "";
    this.verdict.textContent = "";
    this.root.dataset.faces = this.root.dataset.labels = "";
  }

  watchAge() {
    if (this.status !== "live") return;
    const now = performance.now();
    if (now - this.pictureAt > STALE) this.say("no_picture");
    else if (now - this.answeredAt > STALE) this.say("silent");
  }

  // ---- camera

  async start({ quietly = false } = {}) {
    this.stop();
    const attempt = ++this.attempt;
    if (!quietly) this.say("starting");
    if (!navigator.mediaDevices?.getUserMedia) return this.say("insecure");
    this.overdue = setTimeout(() => this.isOverdue(), PATIENCE);
    const size = { width: { ideal: FRAME.width }, height: { ideal: FRAME.height }, frameRate: { ideal: 30 } };
    let stream;
    try {
      stream = await openCamera(this.data.mirror ? "user" : "environment", size);
    } catch (problem) {
      if (attempt === this.attempt && !this.closed) this.fail(reasonOf(problem));
      return;
    }
    if (this.closed || attempt !== this.attempt) return stream.getTracks().forEach((t) => t.stop());
    this.stream = stream;
    stream.getVideoTracks()[0].onended = () => this.fail("lost");
    this.video.srcObject = stream;
    this.video.play().catch(() => {}); // settles only with the first picture
    this.mirror();
    this.showCameras();
    this.watchFrames();
    this.connect();
    this.animate();
  }

  isOverdue() {
    if (this.status === "starting") this.say(this.stream ? "no_picture" : "waiting");
  }

  fail(reason) {
    this.stop();
    this.say(reason);
    if (HEALS.has(reason)) this.healTimer = setTimeout(() => this.start({ quietly: true }), HEAL_EVERY);
  }

  devicesChanged() {
    if (HEALS.has(this.status)) this.start({ quietly: true });
    else if (this.stream?.getVideoTracks()[0].readyState === "ended") this.fail("lost");
    else if (this.stream) this.showCameras();
  }

  stop() {
    clearTimeout(this.overdue);
    clearTimeout(this.healTimer);
    this.stream?.getTracks().forEach((track) => {
      track.onended = null;
      track.stop();
    });
    this.stream = undefined;
    this.picture = this.sentPicture = 0; // pictures that the camera sent, and which of them went to Robi last
    this.video.srcObject = null;
    this.disconnect();
    this.boxes = [];
    cancelAnimationFrame(this.frame);
    this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  pause() {
    if (RETRY.has(this.status)) return;
    this.attempt += 1; // whatever is being opened comes too late
    this.stop();
    this.say("paused");
  }

  close() {
    this.closed = true;
    this.report = () => {};
    this.stop();
    clearInterval(this.rateTimer);
    clearInterval(this.ageTimer);
    document.removeEventListener("visibilitychange", this.onHidden);
    navigator.mediaDevices?.removeEventListener?.("devicechange", this.onDevices);
    if (speaks === this) delete document.documentElement.dataset.robiCamera;
  }

  choose() {
    rememberCamera({ deviceId: this.picker.value, label: this.picker.selectedOptions[0].label });
    this.start();
  }

  async showCameras() {
    const devices = await listCameras();
    const current = this.stream?.getVideoTracks()[0].getSettings().deviceId;
    this.picker.replaceChildren(
      ...devices.map((d, n) => new Option(d.label || `Camera ${n + 1}`, d.deviceId, false, d.deviceId === current))
    );
    this.picker.hidden = devices.length < 2;
  }

  mirror() {
    // As in a mirror, but not by a camera that looks away from whoever holds it.
    const facing = this.stream?.getVideoTracks()[0].getSettings().facingMode;
    this.mirrored = Boolean(this.data.mirror) && facing !== "environment";
    this.root.classList.toggle("mirrored", this.mirrored);
  }

  // ---- connection

  connect() {
    this.disconnect();
    if (!this.data.token) return;
    const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/api/v1/live`);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(JSON.stringify({ token: this.data.token }));
    socket.onmessage = (event) => socket === this.socket && this.receive(JSON.parse(event.data));
    socket.onclose = () => socket === this.socket && this.reconnect();
    this.patience = setTimeout(() => this.reconnect(), PATIENCE);
  }

  disconnect() {
    clearTimeout(this.retryTimer);
    clearTimeout(this.sendTimer);
    clearTimeout(this.patience);
    const socket = this.socket;
    this.socket = undefined;
    socket?.close();
  }

  reconnect() {
    this.disconnect();
    if (!this.stream || this.status === "expired") return;
    if (this.status !== "busy") this.say("offline");
    this.failures = (this.failures ?? 0) + 1;
    this.retryTimer = setTimeout(() => this.connect(), Math.min(500 * 2 ** (this.failures - 1), 5000));
  }

  receive(message) {
    clearTimeout(this.patience);
    if (message.type === "ready") {
      this.failures = 0;
      this.send();
      return;
    }
    if (message.code === "unknown_session") return this.say("expired");
    this.answered += 1;
    this.results += 1;
    const now = performance.now();
    this.answeredAt = now;
    this.say(message.code === "busy" ? "busy" : "live");
    if (message.type !== "result") this.tell(message.message, false);
    else if (now - this.sentAt < 2 * STALE) this.show(message); // an older answer tells of a picture that is gone
    const rest = this.status === "busy" ? 2000 : FRAME.every - (now - this.sentAt);
    this.sendTimer = setTimeout(() => this.send(), Math.max(0, rest));
  }

  send() {
    const { videoWidth: w, videoHeight: h } = this.video;
    const socket = this.socket;
    if (!socket || socket.readyState !== WebSocket.OPEN) return;
    // The same picture is never asked about twice: a camera that froze would be recognised for ever.
    if (!w || this.picture === this.sentPicture)
      return void (this.sendTimer = setTimeout(() => this.send(), FRAME.every));
    this.sentPicture = this.picture;
    const scale = Math.min(1, FRAME.width / w, FRAME.height / h);
    this.outbox.width = Math.round(w * scale);
    this.outbox.height = Math.round(h * scale);
    this.outbox.getContext("2d").drawImage(this.video, 0, 0, this.outbox.width, this.outbox.height);
    this.sentAt = performance.now();
    this.outbox.toBlob((jpeg) => {
      if (socket !== this.socket || !jpeg) return;
      socket.send(jpeg);
      this.patience = setTimeout(() => this.reconnect(), PATIENCE);
    }, "image/jpeg", FRAME.quality);
  }

  // ---- drawing

  show({ faces, coach, captured, goal }) {
    const before = new Map(this.boxes.map((box) => [box.track, box.at]));
    this.boxes = faces.map((face) => ({ ...face, goal: face.box, at: before.get(face.track) ?? face.box }));
    this.root.dataset.results = this.results;
    this.root.dataset.faces = faces.map((f) => f.decision ?? "").join(" ");
    this.root.dataset.labels = faces.map((f) => f.label).join("|");
    this.tell(coach?.text ?? "", Boolean(coach?.ok));
    write(this.verdict, this.data.guide ? "" : spoken(faces));
    if (goal) this.showDots(captured, goal);
  }

  tell(text, ok) {
    this.coachOk = ok;
    write(this.coach, text);
    this.coach.classList.toggle("ok", ok);
  }

  showDots(captured, goal) {
    if (this.dots.dataset.count === `${captured}/${goal}`) return;
    this.dots.dataset.count = `${captured}/${goal}`;
    this.dots.textContent = "●".repeat(captured) + "○".repeat(Math.max(0, goal - captured));
    this.dots.setAttribute("role", "img");
    this.dots.setAttribute("aria-label", `${captured} of ${goal} photos taken`);
  }

  animate(now = performance.now()) {
    this.frame = requestAnimationFrame((t) => this.animate(t));
    const dt = now - (this.drawnAt ?? 0);
    if (dt < DRAW_EVERY) return;
    this.drawnAt = now;
    this.draw(1 - Math.exp(-dt / SMOOTHING));
  }

  draw(step) {
    const { clientWidth: w, clientHeight: h } = this.video;
    const ratio = window.devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(w * ratio)) this.canvas.width = Math.round(w * ratio);
    if (this.canvas.height !== Math.round(h * ratio)) this.canvas.height = Math.round(h * ratio);
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, w, h);
    const area = fit(this.video.videoWidth || 4, this.video.videoHeight || 3, w, h);
    this.look ??= readLook(this.root);
    if (this.data.guide) drawOval(pen, area, this.look, this.coachOk);
    for (const box of this.boxes) box.at = box.at.map((v, n) => v + (box.goal[n] - v) * step);
    const labelled = !this.data.guide;
    drawFaces(pen, area, this.look, this.boxes, { mirrored: this.mirrored, labelled, ok: this.coachOk });
  }

  // ---- rates

  watchFrames() {
    this.pictureAt = performance.now();
    const stream = this.stream;
    const next = this.video.requestVideoFrameCallback
      ? (tick) => this.video.requestVideoFrameCallback(tick)
      : (tick) => requestAnimationFrame(tick); // an old browser: every drawing counts as a new picture
    const tick = () => {
      if (this.closed || stream !== this.stream) return;
      this.shown += 1;
      this.picture += 1;
      this.pictureAt = performance.now();
      next(tick);
    };
    next(tick);
  }

  countRates() {
    this.look = undefined; // the theme may have changed; reading it for each drawing would be dear
    const now = performance.now();
    const seconds = (now - (this.countedAt ?? now - 1000)) / 1000;
    this.countedAt = now;
    this.root.dataset.fps = (this.shown / seconds).toFixed(1);
    this.root.dataset.recognitions = (this.answered / seconds).toFixed(1);
    this.shown = this.answered = 0;
    const live = this.status === "live";
    this.rates.textContent = live
      ? `${Math.round(this.root.dataset.fps)} frames/s · ${Math.round(this.root.dataset.recognitions)} checked/s`
      : "";
  }
}

function reasonOf(problem) {
  if (["NotAllowedError", "SecurityError"].includes(problem.name)) return "denied";
  if (["NotFoundError", "OverconstrainedError"].includes(problem.name)) return "no_camera";
  return "in_use";
}

function write(element, text) {
  // Only a change is written: a screen reader says every write.
  if (element.textContent !== text) element.textContent = text;
}
