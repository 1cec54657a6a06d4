"""A correct app with timm: its evaluation transform, inference mode, and the three most probable labels."""

import gradio as gr
import timm
import torch
from timm.data import ImageNetInfo, create_transform

model = timm.create_model("resnet18").eval()
transform = create_transform(224, interpolation="bilinear", crop_pct=224 / 256)
names = ImageNetInfo()


def predict(image):
    """Return the three most probable labels."""
    batch = transform(image).unsqueeze(0)
    with torch.inference_mode():
        top = model(batch).softmax(dim=1)[0].topk(3)
    pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    return {names.index_to_description(index): value for index, value in pairs}


gr.Interface(fn=predict, inputs=gr.Image(type="pil"), outputs=gr.Label(num_top_classes=3)).launch()
