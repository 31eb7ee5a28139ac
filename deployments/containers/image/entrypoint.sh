#!/bin/sh
# First program of every container. Prefect's own Helm charts start programs through a file with
# this path and name, so the image works with them as well.
exec python -m deployments.containers.secret_files "$@"
