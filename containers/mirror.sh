#!/usr/bin/env bash
# The Debian mirror that this machine's own apt uses.
set -euo pipefail
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(SITE) $(CODENAME)' "Created-By: Packages" |
  awk -v release="$release" '$2 == release {print $1; exit}')
[[ $mirror ]] || { echo "error: no mirror of Debian $release among this machine's apt sources" >&2; exit 1; }
echo "$mirror"
