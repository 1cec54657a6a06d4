"""`gr.Interface.from_pipeline` with a transformers pipeline: a ResNet-18 with random weights, without a download."""

from importlib import import_module
from types import SimpleNamespace

import gradio as gr
from transformers import ConvNextImageProcessor, ResNetConfig, ResNetForImageClassification, pipelines

# Gradio 6 expects transformers 4: for every request it looks up classes in modules that transformers 5 imports lazily
# or has removed, and passes the image by a parameter name that no longer exists. Without these patches every request
# fails.
for module in ("text_classification", "token_classification", "object_detection"):
    import_module(f"transformers.pipelines.{module}")
pipelines.text2text_generation = SimpleNamespace(Text2TextGenerationPipeline=(), TranslationPipeline=())
original_call = pipelines.ImageClassificationPipeline.__call__
pipelines.ImageClassificationPipeline.__call__ = lambda self, images: original_call(self, images)

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
