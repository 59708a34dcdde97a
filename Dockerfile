# syntax=docker/dockerfile:1
# Two targets: `cpu` (the default; no torch) and `gpu` (CUDA, torch, mamba-ssm, causal-conv1d).
# Both run as user 10001, and with a read-only root: what is kept lies in /var/lib/umzero.
# `make image-check` carries out every line of `cpu` without an engine; `gpu` is linted only.

FROM debian:bookworm-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        binutils=2.40-2 python3=3.11.2-1+b1 python3-venv=3.11.2-1+b1 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY docker/requirements-build.lock docker/requirements-cpu.lock ./
RUN python3 -m venv tools \
    && tools/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock
RUN python3 -m venv --without-pip /opt/umzero \
    && tools/bin/pip --python /opt/umzero/bin/python install --no-cache-dir \
        --only-binary :all: --require-hashes -r requirements-cpu.lock
# What nothing here runs: symbols for debuggers, the packages' own tests, and ONNX Runtime's tools to
# make models; about 55 MB.
RUN find /opt/umzero/lib -name '*.cpython-*.so' -exec strip --strip-unneeded {} + \
    && find /opt/umzero/lib -type d -name tests -prune -exec rm -r {} + \
    && for name in datasets quantization tools transformers; do \
        rm -r /opt/umzero/lib/python3.11/site-packages/onnxruntime/$name || exit; done
COPY pyproject.toml README.md LICENSE ./
COPY model model
COPY service service
COPY umzero umzero
RUN tools/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist . \
    && tools/bin/pip --python /opt/umzero/bin/python install --no-cache-dir --no-deps dist/*.whl


FROM nvidia/cuda:13.0.2-devel-ubuntu24.04 AS gpu-build
# Ubuntu keeps only the newest version of a package: a pin would break with the next one.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY docker/requirements-gpu.lock docker/requirements-cuda.lock ./
RUN python3 -m venv /opt/umzero \
    && /opt/umzero/bin/pip install --no-cache-dir --require-hashes -r requirements-gpu.lock
# Both would take a wheel that was built against another torch, if they found one.
ENV CAUSAL_CONV1D_FORCE_BUILD=TRUE MAMBA_FORCE_BUILD=TRUE MAX_JOBS=4
RUN PATH=/opt/umzero/bin:$PATH pip install --no-cache-dir --no-deps --no-build-isolation \
        --require-hashes -r requirements-cuda.lock
COPY --from=build /build/dist dist
RUN /opt/umzero/bin/pip install --no-cache-dir --no-deps dist/*.whl


FROM nvidia/cuda:13.0.2-base-ubuntu24.04 AS gpu
# Triton compiles what starts its kernels when they first run.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev python3-dev \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /tmp \
        --shell /usr/sbin/nologin umzero \
    && install -d -o umzero -g umzero /var/lib/umzero
COPY --from=gpu-build /opt/umzero /opt/umzero
COPY weights/birds /opt/umzero/weights/birds
# ONNX Runtime reports its use to its makers unless it is told not to.
ENV ORT_DISABLE_TELEMETRY=1 \
    PATH=/opt/umzero/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    TRITON_CACHE_DIR=/tmp/triton \
    UMZERO_BUNDLE=/opt/umzero/weights/birds \
    UMZERO_DEVICE=cuda \
    UMZERO_HOST=0.0.0.0 \
    UMZERO_LOG_FORMAT=json \
    UMZERO_PORT=8000 \
    UMZERO_STATE_DIR=/var/lib/umzero
WORKDIR /var/lib/umzero
USER 10001:10001
VOLUME /var/lib/umzero
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=4s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['UMZERO_PORT'] + '/readyz', timeout=3)"]
ENTRYPOINT ["umzero"]
CMD ["serve"]


FROM debian:bookworm-slim AS cpu
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3=3.11.2-1+b1 \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin umzero \
    && install -d -o umzero -g umzero /var/lib/umzero
COPY --from=build /opt/umzero /opt/umzero
COPY weights/birds /opt/umzero/weights/birds
# ONNX Runtime reports its use to its makers unless it is told not to.
ENV ORT_DISABLE_TELEMETRY=1 \
    PATH=/opt/umzero/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    UMZERO_BUNDLE=/opt/umzero/weights/birds \
    UMZERO_HOST=0.0.0.0 \
    UMZERO_LOG_FORMAT=json \
    UMZERO_PORT=8000 \
    UMZERO_STATE_DIR=/var/lib/umzero
WORKDIR /var/lib/umzero
USER 10001:10001
VOLUME /var/lib/umzero
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['UMZERO_PORT'] + '/readyz', timeout=3)"]
ENTRYPOINT ["umzero"]
CMD ["serve"]
