#!/bin/sh
# Makes the JSON schemas in this folder from the TypeScript types that Grafana publishes; needs npm
# and jq. Run it when the version of Grafana changes. Tests check the dashboards against them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
cd "$build"
npm install --silent --no-save @grafana/schema@12.4.0 ts-json-schema-generator@2.9.0

types=@grafana/schema/dist/types/raw
schema() { # name, module, imported types, members of the root
    printf "import type { %s } from '%s';\nexport interface Root { %s }\n" "$3" "$types/$2" "$4" > "$1.ts"
    npx ts-json-schema-generator --path "$1.ts" --type Root --no-type-check \
        | jq --compact-output --sort-keys 'walk(if type == "object" and (.description | type) == "string" then del(.description) else . end)' \
        > "$here/$1.json"
}
panel() { echo "composable/$1/panelcfg/x/types.gen"; }
schema dashboard dashboard/x/types.gen Dashboard 'dashboard: Dashboard'
schema timeseries "$(panel timeseries)" 'Options, FieldConfig' 'options: Options; custom: FieldConfig'
schema stat "$(panel stat)" Options 'options: Options'
schema heatmap "$(panel heatmap)" 'Options, FieldConfig' 'options: Options; custom: FieldConfig'
