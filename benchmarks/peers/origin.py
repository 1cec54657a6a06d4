"""The app of Gradio's image classification tutorial, with random weights: no resizing, no normalisation."""

import gradio as gr
import torch
from torchvision import transforms
from torchvision.models import ResNet18_Weights, resnet18

model = resnet18().eval()
labels = ResNet18_Weights.DEFAULT.meta["categories"]


def predict(image):
    """Return the probabilities of all 1,000 labels."""
    batch = transforms.ToTensor()(image).unsqueeze(0)
    with torch.no_grad():
        probabilities = torch.nn.functional.softmax(model(batch)[0], dim=0)
    return {labels[i]: float(probabilities[i]) for i in range(1000)}


gr.Interface(fn=predict, inputs=gr.Image(type="pil"), outputs=gr.Label(num_top_classes=3)).launch()
