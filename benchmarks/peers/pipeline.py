"""Gradio's one-liner for a transformers pipeline: a ResNet-18 with random weights, built here instead of downloaded."""

from importlib import import_module
from types import SimpleNamespace

import gradio as gr
from transformers import ConvNextImageProcessor, ResNetConfig, ResNetForImageClassification, pipelines

# Gradio 6 speaks transformers 4: for every answer it looks classes up in modules that transformers 5 loads late, or
# has dropped, and it calls the image by a name that is gone. Without these lines the one-liner answers nothing.
for module in ("text_classification", "token_classification", "object_detection"):
    import_module(f"transformers.pipelines.{module}")
pipelines.text2text_generation = SimpleNamespace(Text2TextGenerationPipeline=(), TranslationPipeline=())
called = pipelines.ImageClassificationPipeline.__call__
pipelines.ImageClassificationPipeline.__call__ = lambda self, images: called(self, images)

config = ResNetConfig(
    embedding_size=64,
    hidden_sizes=[64, 128, 256, 512],
    depths=[2, 2, 2, 2],
    layer_type="basic",
    num_labels=1000,
)
classify = pipelines.pipeline(
    "image-classification",
    model=ResNetForImageClassification(config).eval(),
    image_processor=ConvNextImageProcessor(size={"shortest_edge": 224}, crop_pct=0.875),
)

gr.Interface.from_pipeline(classify, api_name="predict").launch(show_error=True)
