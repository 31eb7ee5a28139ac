#!/bin/sh
# First program of every container. Prefect's own Helm charts start the image's program through a
# file of this path and name, so the image fits them as well.
exec python -m deployments.containers.secret_files "$@"
