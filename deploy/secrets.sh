#!/bin/sh
# Write random passwords for compose.yaml to deploy/.env, once. The file is ignored by git and readable by you alone.
set -eu
cd "$(dirname "$0")"
if [ -e .env ]; then
    echo "deploy/.env is there already; nothing was changed."
    exit 0
fi
umask 077
for name in POSTGRES OWNER PIPELINE WEB VENDOR REFUSAL GRAFANA; do
    echo "${name}_PASSWORD=$(head -c 18 /dev/urandom | base64 | tr '+/' '-_')"
done > .env.new
mv .env.new .env
echo "Wrote deploy/.env with a random password for every role."
