// What the scripts with a camera share; it precedes them.
const CAMERA = { video: { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "environment" } };

const opened = new WeakMap();  // what each video shows or waits for, until it is opened again or closed

// Shows the camera in a video element; fails with a sentence. Returns whether it is still wanted then: the browser may
// ask for permission meanwhile, for as long as it likes.
async function openCamera(video) {
  if (!navigator.mediaDevices?.getUserMedia) throw new Error("This browser allows a camera only over HTTPS, or on localhost.");
  closeCamera(video);
  const own = {}, isWanted = () => opened.get(video) === own;
  opened.set(video, own);
  try {
    const stream = await navigator.mediaDevices.getUserMedia(CAMERA);
    if (!isWanted()) return end(stream);
    video.srcObject = stream;
    await video.play();
  } catch (error) {
    if (!isWanted()) return false;
    closeCamera(video);
    const refused = "The browser was not allowed to use the camera. Allow it beside the address, and try again.";
    const sentences = { NotAllowedError: refused, NotFoundError: "There is no camera on this device.", NotReadableError: "Another program uses the camera." };
    throw new Error(sentences[error.name] ?? `The camera does not start: ${error.message}`);
  }
  return isWanted();
}

function closeCamera(video) {
  opened.delete(video);
  end(video.srcObject);
  video.srcObject = null;
}

function end(stream) {
  stream?.getTracks().forEach((track) => track.stop());
  return false;
}

// The frame that a video shows, as a JPEG.
function frameOf(video) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
}

