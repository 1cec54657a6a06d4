"""Gradio's one-liner for a transformers pipeline: a ResNet-18 with random weights, built here instead of downloaded."""

import gradio as gr
import transformers.pipelines.text_classification  # gradio looks it up there, and transformers 5 is lazy
from transformers import ConvNextImageProcessor, ResNetConfig, ResNetForImageClassification, pipeline

config = ResNetConfig(
    embedding_size=64,
    hidden_sizes=[64, 128, 256, 512],
    depths=[2, 2, 2, 2],
    layer_type="basic",
    num_labels=1000,
)
classify = pipeline(
    "image-classification",
    model=ResNetForImageClassification(config).eval(),
    image_processor=ConvNextImageProcessor(size={"shortest_edge": 224}, crop_pct=0.875),
)

gr.Interface.from_pipeline(classify, api_name="predict").launch()
