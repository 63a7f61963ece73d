# syntax=docker/dockerfile:1
# torpor's one image: controller, gateway, prewarm and the command line are arguments of the same entry point.
# BASE is any Debian-like image with Python 3.11 or newer and its venv module.
ARG BASE=python:3.13-slim

# The list of dependencies by itself: a change elsewhere in pyproject.toml must not install them anew.
FROM ${BASE} AS requirements
WORKDIR /build
COPY pyproject.toml constraint[s]/runtime.txt constraint[s]/build.txt ./
RUN if [ ! -f runtime.txt ]; then \
        python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > runtime.txt; \
    fi && \
    if [ ! -f build.txt ]; then \
        python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' > build.txt; \
    fi

# Dependencies, with hashes where the list has them (pip then demands them of every package), and their bytecode.
FROM ${BASE} AS dependencies
COPY --from=requirements /build/runtime.txt /build/
RUN python3 -m venv /opt/torpor && \
    /opt/torpor/bin/pip install --disable-pip-version-check --no-compile --only-binary :all: -r /build/runtime.txt && \
    /opt/torpor/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/torpor/lib && \
    rm -rf /root/.cache

# The package as a wheel, which alone is built anew when our code changes; its build tools never reach the image.
FROM ${BASE} AS package
COPY --from=requirements /build/build.txt /build/
RUN python3 -m venv /build/tools && \
    /build/tools/bin/pip install --disable-pip-version-check --only-binary :all: -r /build/build.txt
WORKDIR /build/source
COPY pyproject.toml README.md LICENSE ./
COPY operator ./operator
RUN /build/tools/bin/pip wheel --disable-pip-version-check --no-deps --no-build-isolation --no-index --wheel-dir /build/wheel .

FROM dependencies
LABEL org.opencontainers.image.title="torpor" \
      org.opencontainers.image.description="Scale-to-zero LLM inference endpoints on Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/torpor/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=package /build/wheel /tmp/wheel
RUN pip install --disable-pip-version-check --no-cache-dir --no-deps --no-index --no-compile /tmp/wheel/*.whl && \
    python -m compileall -q --invalidation-mode unchecked-hash "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torpor" && \
    rm -rf /tmp/wheel && \
    echo 'torpor:x:65532:' >> /etc/group && \
    echo 'torpor:x:65532:65532:torpor:/nonexistent:/usr/sbin/nologin' >> /etc/passwd
USER 65532:65532
WORKDIR /
ENTRYPOINT ["torpor"]
