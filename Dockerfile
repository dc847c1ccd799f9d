# One image for the MLflow server, the Ray nodes and the sweeps of docker-compose.yml, or of a Kubernetes cluster.
#
# PyPI's torch, as pinned, is its CUDA build on x86-64 and trains on CPUs too. For a smaller image without CUDA, give an
# index that has such a build: --build-arg PIP_EXTRA_INDEX_URL=...
FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

ARG PIP_EXTRA_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    GIT_PYTHON_REFRESH=quiet \
    RAY_USAGE_STATS_ENABLED=0

# KubeRay's probes need wget.
RUN apt-get update && apt-get install --yes --no-install-recommends wget && rm -r /var/lib/apt/lists/*

# The volumes of docker-compose.yml take their owner from here.
RUN useradd --uid 1000 --user-group --create-home anytime \
    && install --directory --owner anytime --group anytime /srv/runs /srv/data /srv/artifacts

WORKDIR /srv/app

# What this needs, with empty packages in place of its own code, which changes more often.
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN mkdir -p anytime_core orchestrator/report/pages orchestrator/paper/reference \
    && touch anytime_core/__init__.py orchestrator/__init__.py orchestrator/report/__init__.py \
        orchestrator/report/pages/__init__.py \
        orchestrator/paper/__init__.py orchestrator/paper/reference/__init__.py \
    && pip install --constraint constraints.txt '.[server]' \
    && pip uninstall --yes anytime-orchestrator

COPY anytime_core anytime_core
COPY orchestrator orchestrator
RUN pip install --no-deps . && rm -r anytime_core orchestrator build
COPY sweeps sweeps

USER 1000:1000
CMD ["orchestrate", "--help"]
