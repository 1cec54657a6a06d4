"""app.py with a feature that has a page of its own, whose image can be passed on to the first page.

Takes the arguments of app.py.
"""

import runpy
import sys
from pathlib import Path

import gradio as gr

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))


def add_page(demo, service, connections, images):
    from lineup.page.handover import new_owner, owner_state
    from lineup.page.image_field import image_field

    async def give(image, owner):
        owner = owner or new_owner()
        return owner, f"[Classify it](/?image={images.give(owner, Path(image))})"

    with demo.route("Second", "/second"):
        owner = owner_state()
        image, link = image_field(elem_id="second-image"), gr.Markdown(elem_id="second-link")
        image.upload(give, [image, owner], [owner, link], api_visibility="private")


if __name__ == "__main__":
    from lineup.features import FEATURES, Feature

    FEATURES["second"] = Feature("second", pages="two_pages:add_page")
    runpy.run_path(str(ROOT / "app.py"), run_name="__main__")
