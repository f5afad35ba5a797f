# Both daemons in one small image, and the doctor. Which one runs is the command:
#   threadcast-bridge …   threadcast-worker …   threadcast-worker migrate
#   threadcast doctor https://…
FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
        build-essential cmake ninja-build pkg-config \
        libhiredis-dev libevent-dev libjansson-dev libpq-dev libssl-dev \
        libcurl4-openssl-dev ca-certificates curl openssl \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY CMakeLists.txt CMakePresets.json LICENSE ./
COPY cmake cmake
COPY db db
COPY common common
COPY worker worker
COPY bridge bridge
COPY cli cli
COPY app app
# What the page has from others, compared with app/package-lock.json; from the context when
# ./scripts/vendor has been called there. Without it the page shows plain text and says so.
COPY scripts/vendor scripts/vendor
RUN scripts/vendor || echo "WARNING: going on without app/vendor"
COPY sdk/js/src sdk/js/src
COPY systemd systemd
RUN cmake --preset release -DCMAKE_INSTALL_PREFIX=/usr \
    && cmake --build --preset release \
    && DESTDIR=/out cmake --install build/release --strip

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends \
        ca-certificates libcurl4 libhiredis0.14 libjansson4 libpq5 libssl3 \
        libevent-core-2.1-7 libevent-extra-2.1-7 libevent-openssl-2.1-7 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home \
        --home-dir /nonexistent --shell /usr/sbin/nologin threadcast \
    # the key that --demo makes lives here: mount a volume
    && install -d -o threadcast -g threadcast -m 700 /var/lib/threadcast
COPY --from=build /out/ /
COPY scripts/healthcheck /usr/bin/threadcast-healthcheck
USER threadcast
WORKDIR /var/lib/threadcast
VOLUME /var/lib/threadcast
EXPOSE 8080
CMD ["threadcast-bridge"]
