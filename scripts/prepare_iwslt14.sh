#!/usr/bin/env bash
# Downloads the IWSLT'14 German-English release (20 MB) and prepares it byte for byte as fairseq's prepare-iwslt14.sh does.
#   scripts/prepare_iwslt14.sh                        # or with a local archive: --archive de-en.tgz
# Expected: 160,239 / 7,283 / 6,750 pairs in corpora/iwslt14.de-en, and "the counts and all published checksums agree".
# Time: about 2 minutes on 2 CPU cores, plus the download. All options: --help
set -euo pipefail
exec "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/python.sh" -m gradinit_mt.corpora.iwslt14 "$@"
