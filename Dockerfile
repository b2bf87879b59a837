# The platform in one image: the Prefect server and the worker are the same image with another command (docker-compose.yml).
FROM python:3.11.14-slim-bookworm

# What Blender's wheel links, as in the Makefile; tini passes signals on and buries the dead.
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      libxrender1 libxxf86vm1 libxfixes3 libxi6 libxkbcommon0 libsm6 libgl1 libegl1 libgomp1 git tini \
 && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 10001 dst && install -d -o dst -g dst /data /prefect
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE prefect.yaml ./
COPY flows flows
COPY tasks tasks
COPY models models
COPY storage storage
RUN pip install --no-cache-dir -c constraints.txt -e ".[postgres,s3]"

USER dst
ENV DST_HOME=/data PREFECT_HOME=/prefect PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=1
ENTRYPOINT ["tini", "--"]
CMD ["dst", "doctor"]
