# SPDX-License-Identifier: Apache-2.0
# docker build -t temper . && docker run --rm -v "$PWD/runs:/runs" temper run /opt/temper/share/temper/configs/tiny/r1.yaml --run-dir /runs/tiny
# Rule `code` needs user namespaces: --security-opt seccomp=unconfined, and apparmor=unconfined where there is AppArmor (docs/rewards.md).
FROM debian:12 AS build
COPY . /src
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && TEMPER_CACHE=/cache /src/scripts/package /opt/temper

FROM debian:12-slim
COPY scripts/install /usr/local/share/temper/scripts/install
RUN apt-get update && TEMPER_CACHE=/tmp/cache /usr/local/share/temper/scripts/install --runtime && rm -rf /tmp/cache /var/lib/apt/lists/*
COPY --from=build /opt/temper /opt/temper
ENV PATH=/opt/temper/bin:$PATH
WORKDIR /runs
ENTRYPOINT ["temper"]
