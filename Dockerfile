# syntax=docker/dockerfile:1

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# Dependencies stay compiled in the cache from one build to the next; what is to be kept must leave it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin projectord \
    && install -D target/release/projectord /out/projectord

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="projectord" \
      org.opencontainers.image.description="Keeps disposable read models in PostgreSQL, from events in RethinkDB or PostgreSQL" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# It reads config.toml and projections/ from the folder it runs in; mount your own over them.
WORKDIR /etc/projectord
COPY --from=build /out/projectord /usr/local/bin/projectord
COPY config.toml ./
COPY projections projections
# As numbers, so that an orchestrator can tell that it is not root.
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["projectord"]
CMD ["run"]
