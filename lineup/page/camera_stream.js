// What the scripts with a camera share; it precedes them.
const CAMERA = { video: { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "environment" } };

// Shows the camera in a video element; fails with a sentence.
async function openCamera(video) {
  if (!navigator.mediaDevices?.getUserMedia) throw new Error("This browser allows a camera only over HTTPS, or on localhost.");
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia(CAMERA);
  } catch (error) {
    const refused = "The browser was not allowed to use the camera. Allow it beside the address, and try again.";
    const sentences = { NotAllowedError: refused, NotFoundError: "There is no camera on this device.", NotReadableError: "Another program uses the camera." };
    throw new Error(sentences[error.name] ?? `The camera does not start: ${error.message}`);
  }
  await video.play();
}

function closeCamera(video) {
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
}

// The frame that a video shows, as a JPEG.
function frameOf(video) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
}

