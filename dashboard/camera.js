// The live camera. The video stays in the browser at full rate; only the newest frame travels, one at a
// time, and the answer is drawn on a canvas above the video at the next animation frame.

const FRAME = { width: 640, height: 480, quality: 0.82, every: 50 }; // at most 20 frames a second
const PATIENCE = 10_000; // an answer later than this counts as a lost connection
const SMOOTHING = 70; // ms; how quickly a drawn box follows its face
const DRAW_EVERY = 30; // ms; drawing more often than the video has frames shows nothing more

const SAY = {
  starting: ["Starting the camera", "Allow the camera if the browser asks for it."],
  denied: ["The camera is blocked", "Allow it in the browser's address bar and try again, or use a photo."],
  no_camera: ["No camera found", "Connect a camera and try again, or use a photo."],
  in_use: ["The camera is busy", "Close the other program that uses it and try again, or use a photo."],
  lost: ["The camera stopped", "Check its cable and try again, or use a photo."],
  insecure: ["The camera needs a secure address", "Open Robi over HTTPS or on localhost, or use a photo."],
  offline: ["Connection lost", "Reconnecting …"],
  busy: ["Too many live cameras", "Trying again in a moment. You can also use a photo."],
  expired: ["Renewing the session", "One moment."],
  paused: ["Paused", "The camera starts again when this tab is in front."],
};
const RETRY = new Set(["denied", "no_camera", "in_use", "lost"]);

const mounted = new WeakMap();

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
    this.dots = parent.querySelector(".dots");
    this.picker = parent.querySelector("select");
    this.rates = parent.querySelector(".rates");
    this.report = report;
    this.data = {};
    this.boxes = [];
    this.shown = 0; // video frames since the rates were last counted
    this.answered = 0;
    this.results = 0;
    this.outbox = document.createElement("canvas");
    this.onHidden = () => (document.hidden ? this.pause() : this.start());
    document.addEventListener("visibilitychange", this.onHidden);
    parent.querySelector(".retry").onclick = () => this.start();
    this.picker.onchange = () => this.start(this.picker.value);
    this.rateTimer = setInterval(() => this.countRates(), 1000);
    this.start();
  }

  update(data) {
    const renewed = data.token !== this.data.token;
    this.data = data;
    this.root.classList.toggle("mirrored", Boolean(data.mirror));
    if (renewed && this.stream) this.connect();
    if (renewed && this.status === "expired") this.say("starting");
  }

  say(status) {
    if (status === this.status) return;
    this.status = status;
    this.root.dataset.status = status;
    const words = SAY[status];
    this.panel.hidden = !words;
    if (words) {
      this.panel.querySelector("strong").textContent = words[0];
      this.panel.querySelector("span").textContent = words[1];
      this.panel.querySelector(".retry").hidden = !RETRY.has(status);
      this.coach.textContent = "";
    }
    this.report(status);
  }

  // ---- camera

  async start(deviceId) {
    this.stop();
    const attempt = (this.attempt = (this.attempt ?? 0) + 1);
    this.say("starting");
    if (!navigator.mediaDevices?.getUserMedia) return this.say("insecure");
    const wanted = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };
    if (deviceId) wanted.deviceId = { exact: deviceId };
    else wanted.facingMode = this.data.mirror ? "user" : "environment";
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
    } catch (problem) {
      if (attempt === this.attempt) this.say(reasonOf(problem));
      return;
    }
    if (this.closed || attempt !== this.attempt) return stream.getTracks().forEach((t) => t.stop());
    this.stream = stream;
    stream.getVideoTracks()[0].onended = () => {
      this.stop();
      this.say("lost");
    };
    this.video.srcObject = stream;
    await this.video.play().catch(() => {});
    this.listCameras();
    this.watchFrames();
    this.connect();
    this.animate();
  }

  stop() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = undefined;
    this.video.srcObject = null;
    this.disconnect();
    this.boxes = [];
    cancelAnimationFrame(this.frame);
    this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  pause() {
    if (RETRY.has(this.status)) return;
    this.stop();
    this.say("paused");
  }

  close() {
    this.closed = true;
    this.report = () => {};
    this.stop();
    clearInterval(this.rateTimer);
    document.removeEventListener("visibilitychange", this.onHidden);
  }

  async listCameras() {
    const devices = (await navigator.mediaDevices.enumerateDevices()).filter((d) => d.kind === "videoinput");
    const current = this.stream?.getVideoTracks()[0].getSettings().deviceId;
    this.picker.replaceChildren(
      ...devices.map((d, n) => new Option(d.label || `Camera ${n + 1}`, d.deviceId, false, d.deviceId === current))
    );
    this.picker.hidden = devices.length < 2;
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
      this.say("live");
      this.send();
      return;
    }
    if (message.code === "unknown_session") return this.say("expired");
    this.answered += 1;
    this.results += 1;
    this.say(message.code === "busy" ? "busy" : "live");
    if (message.type === "result") this.show(message);
    else this.tell(message.message, false);
    const rest = this.status === "busy" ? 2000 : FRAME.every - (performance.now() - this.sentAt);
    this.sendTimer = setTimeout(() => this.send(), Math.max(0, rest));
  }

  send() {
    const { videoWidth: w, videoHeight: h } = this.video;
    const socket = this.socket;
    if (!socket || socket.readyState !== WebSocket.OPEN) return;
    if (!w) return void (this.sendTimer = setTimeout(() => this.send(), FRAME.every));
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
    const free = [...this.boxes];
    this.boxes = faces.map((face) => {
      const [x, y, w, h] = face.box;
      const old = free.map((b) => [overlap(b.goal, face.box), b]).sort((a, b) => b[0] - a[0])[0];
      const same = old && old[0] > 0.2;
      if (same) free.splice(free.indexOf(old[1]), 1);
      return { ...face, goal: [x, y, w, h], at: same ? old[1].at : [x, y, w, h] };
    });
    this.root.dataset.results = this.results;
    this.root.dataset.faces = faces.map((f) => f.decision).join(" ");
    this.root.dataset.labels = faces.map((f) => f.label).join("|");
    this.tell(coach?.text ?? "", Boolean(coach?.ok));
    if (goal) this.showDots(captured, goal);
  }

  tell(text, ok) {
    this.coachOk = ok;
    // Only a change is written: a screen reader says every write.
    if (this.coach.textContent !== text) this.coach.textContent = text;
    this.coach.classList.toggle("ok", ok);
  }

  showDots(captured, goal) {
    if (this.dots.dataset.count === `${captured}/${goal}`) return;
    this.dots.dataset.count = `${captured}/${goal}`;
    this.dots.textContent = "●".repeat(captured) + "○".repeat(Math.max(0, goal - captured));
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
    for (const box of this.boxes) {
      box.at = box.at.map((v, n) => v + (box.goal[n] - v) * step);
      drawFace(pen, area, this.look, box, this.data, this.coachOk);
    }
  }

  // ---- rates

  watchFrames() {
    const video = this.video;
    if (!video.requestVideoFrameCallback || this.watching) return;
    this.watching = true;
    const tick = () => {
      this.shown += 1;
      if (!this.closed) video.requestVideoFrameCallback(tick);
    };
    video.requestVideoFrameCallback(tick);
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

function overlap([ax, ay, aw, ah], [bx, by, bw, bh]) {
  const w = Math.min(ax + aw, bx + bw) - Math.max(ax, bx);
  const h = Math.min(ay + ah, by + bh) - Math.max(ay, by);
  if (w <= 0 || h <= 0) return 0;
  return (w * h) / (aw * ah + bw * bh - w * h);
}
