// Which camera to open: the one that was chosen last in this browser, as long as it is there.

const CHOICE = "robi.camera";

function rememberCamera({ deviceId, label }) {
  try {
    localStorage.setItem(CHOICE, JSON.stringify({ deviceId, label }));
  } catch {
    // A browser that keeps nothing asks again.
  }
}

function rememberedCamera() {
  try {
    return JSON.parse(localStorage.getItem(CHOICE)) ?? undefined;
  } catch {
    return undefined;
  }
}

async function listCameras() {
  return (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === "videoinput");
}

async function idOf({ deviceId, label }) {
  const cameras = await listCameras();
  const named = cameras.filter((camera) => camera.label); // nothing has a name before the camera is allowed
  const found = cameras.find((c) => c.deviceId === deviceId) ?? named.find((c) => c.label === label);
  return found?.deviceId || (named.length ? undefined : deviceId);
}

async function openCamera(facingMode, wanted) {
  const open = (which) => navigator.mediaDevices.getUserMedia({ video: { ...wanted, ...which }, audio: false });
  const chosen = rememberedCamera();
  const deviceId = chosen && (await idOf(chosen));
  if (!deviceId) return open({ facingMode });
  try {
    return await open({ deviceId: { exact: deviceId } });
  } catch (problem) {
    if (!["OverconstrainedError", "NotFoundError"].includes(problem.name)) throw problem;
    return open({ facingMode }); // it was unplugged
  }
}
