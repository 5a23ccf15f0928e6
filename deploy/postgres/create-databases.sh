#!/usr/bin/env bash
# Create for each service a database, the role that owns it and the role of the service. The PostgreSQL image runs this on
# an empty volume; elsewhere it may be run by hand, and creates what is missing. README.md shows how.
set -euo pipefail

check() { # VARIABLE: before anything is created. With an empty password no connection would be possible.
    [[ -n ${!1-} ]] || { echo "$(basename "$0"): $1 is not set, or empty: nothing was made" >&2 && exit 1; }
}

create() { # SERVICE
    # Passwords pass through the environment: arguments are visible to everyone who may list processes.
    local owner=${1^^}_DATABASE_PASSWORD service=${1^^}_SERVICE_PASSWORD
    OWNER_PASSWORD=${!owner} SERVICE_PASSWORD=${!service} psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 \
        --username "${POSTGRES_USER:-postgres}" --dbname postgres --set owner="$1" --set service="$1_service" <<'SQL'
\getenv owner_password OWNER_PASSWORD
\getenv service_password SERVICE_PASSWORD
SELECT format('CREATE ROLE %I LOGIN PASSWORD %L', :'owner', :'owner_password')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'owner') \gexec
SELECT format('CREATE ROLE %I LOGIN PASSWORD %L', :'service', :'service_password')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'service') \gexec
SELECT format('CREATE DATABASE %I OWNER %I', :'owner', :'owner')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'owner') \gexec
-- No service may use the database of another one.
REVOKE ALL ON DATABASE :"owner" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"owner" TO :"service";
SQL
}

for service in CUSTOMERS WALLETS JOBS; do
    check "${service}_DATABASE_PASSWORD"
    check "${service}_SERVICE_PASSWORD"
done
create customers
create wallets
create jobs
