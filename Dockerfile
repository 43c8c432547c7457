FROM python:3.12-slim-bookworm

WORKDIR /app
# curl answers the health check; libgomp is FAISS's OpenMP runtime where its wheel does not bring one.
RUN apt-get update \
 && apt-get install -y --no-install-recommends curl libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 10001 robi \
 && mkdir /data && chown robi:robi /data

ARG REQUIREMENTS=requirements.txt
COPY ${REQUIREMENTS} ./requirements.lock
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock

COPY core ./core
COPY api ./api
COPY dashboard ./dashboard
COPY pages ./pages
COPY robi ./robi

USER robi
ENV ROBI_DATA_DIR=/data PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1
# The face pack is part of the image, so a container needs no network.
RUN python -m core.faces.pack --pack open --data-dir /data
VOLUME /data
CMD ["python", "-m", "dashboard"]
