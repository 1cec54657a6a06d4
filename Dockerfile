# Lineup on a CPU. `docker build -t lineup .` and
# `docker run -p 127.0.0.1:7860:7860 -v lineup-cache:/cache -v ./my-lineup:/config:ro -e LINEUP_CONFIG=/config/config.yaml lineup`
FROM python:3.12-slim-bookworm

WORKDIR /app

# Packages first: they are installed again only when these files change.
COPY requirements.txt requirements-transformers.txt constraints.txt ./
# PyTorch's own index, as a build argument, has builds for a CPU alone: see README.md.
ARG PIP_EXTRA_INDEX_URL
RUN python -m pip install --no-cache-dir -c constraints.txt -r requirements.txt -r requirements-transformers.txt

# Weights, converted networks and uploads: a new volume takes over the owner of this folder.
RUN install -d -o 10001 -g 10001 /cache

COPY LICENSE SECURITY.md app.py config.yaml config.schema.json ./
COPY lineup lineup
COPY bundled bundled
COPY examples examples

ENV HOME=/cache \
    USER=lineup \
    GRADIO_SERVER_NAME=0.0.0.0 \
    GRADIO_ANALYTICS_ENABLED=False \
    GRADIO_TEMP_DIR=/cache/uploads \
    HF_HOME=/cache/huggingface \
    LINEUP_CACHE=/cache/lineup \
    TORCH_HOME=/cache/torch \
    PYTHONUNBUFFERED=1
VOLUME /cache
EXPOSE 7860
USER 10001:10001

HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:7860/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
CMD ["python", "app.py", "--port", "7860"]
