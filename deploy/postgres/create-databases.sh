#!/usr/bin/env bash
# Makes a database and a role that owns it for each service. The PostgreSQL image runs this once, on an empty volume.
set -euo pipefail

create() { # SERVICE PASSWORD
    # The password goes through the environment: arguments can be seen by all who may list processes.
    PASSWORD=$2 psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
        --set service="$1" <<'SQL'
\getenv password PASSWORD
CREATE ROLE :"service" LOGIN PASSWORD :'password';
CREATE DATABASE :"service" OWNER :"service";
-- A service has no business in the tables of another one.
REVOKE ALL ON DATABASE :"service" FROM PUBLIC;
SQL
}

create customers "$CUSTOMERS_DATABASE_PASSWORD"
create wallets "$WALLETS_DATABASE_PASSWORD"
create jobs "$JOBS_DATABASE_PASSWORD"
