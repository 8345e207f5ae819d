#!/bin/sh
# Trains the embedded model's experts from nothing: rows, answers, the model's own mistakes, preferences.
# A step whose result is there is left out, and an interrupted tuning goes on. Called by `make train`.
#
#   MODEL  the embedded model (default: standard)
#   DATA   folder with the archives of the public sets (NAME.tar.xz)
#   WORK   folder for everything that is made (default: .flightloop/training/MODEL)
#   ROWS   composed conversations (default: 8000); other sets keep their proportion to it, but written conversations and
#          ordinary talk are taken whole
set -eu
PYTHON="${PYTHON:-.venv/bin/python}"
MODEL="${MODEL:-standard}"
WORK="${WORK:-.flightloop/training/$MODEL}"
ROWS="${ROWS:-8000}"
: "${DATA:?set DATA to the folder with the archives of the public sets: make train DATA=FOLDER}"
HELD_OUT="--held-out parking --held-out pets --held-out oceans --held-out gym --held-out colours --held-out surveys"
HELD_OUT="$HELD_OUT --held-out zh_music --held-out zh_office"
HELD_OUT_DESKS="--held-out watch_repair --held-out bakery_orders --held-out zh_photo_studio"
LONGEST=2600 # tokens of a row: desks with a dozen tools have long prompts
case "$MODEL" in edge) RATE=1e-3 ;; *) RATE=4e-4 ;; esac # those with which the shipped experts began

mkdir -p "$WORK/sets" "$WORK/rows"
tuner() { "$PYTHON" -m model.tuner "$@"; }
missing() { ! test -s "$1" && echo "making $1"; }
share() { echo $((ROWS * $1 / 1000)); } # so many for a thousand composed ones
unpacked() { # a set's folder
    test -d "$WORK/sets/$1" || { mkdir -p "$WORK/sets/$1" && tar xf "$DATA/$1.tar.xz" -C "$WORK/sets/$1"; }
    echo "$WORK/sets/$1"
}
uncontaminated() { # without what benchmarks ask
    bfcl=$(find "${XDG_CACHE_HOME:-$HOME/.cache}/flightloop/peers/bfcl" -type d -path '*bfcl_eval/data' | head -n 1)
    tau2=$(dirname "$(find "$(unpacked tau2-retail)" -name split_tasks.json)")
    tuner data decontaminate "$1" --against "bfcl=$bfcl" --against "tau2=$tau2" \
        --against examples/support/tasks/support.jsonl --against bench/tasks/stranger.jsonl \
        --against bench/tasks/support_zh.jsonl --against bench/tasks/intents.jsonl \
        --against bench/tasks/intents_zh.jsonl --against rows=bench/tasks/chat.jsonl --out "$2"
}

# shellcheck disable=SC2086 # several words are meant
if missing "$WORK/rows/composed.jsonl"; then
    tuner compose "$WORK/composing.jsonl" --rows "$ROWS" --seed 1 $HELD_OUT
    mv "$WORK/composing.jsonl" "$WORK/rows/composed.jsonl"
fi
# shellcheck disable=SC2086
if missing "$WORK/held-out.jsonl"; then
    tuner compose "$WORK/held-out-composed.jsonl" --rows 200 --seed 2 $HELD_OUT --only-held-out
    tuner data desks --out "$WORK/held-out-desks.jsonl" $HELD_OUT_DESKS --only-held-out
    cat "$WORK/held-out-composed.jsonl" "$WORK/held-out-desks.jsonl" >"$WORK/held-out.jsonl"
fi

while read -r set archive most; do
    if missing "$WORK/rows/$set.jsonl"; then
        folder=$(unpacked "$archive")
        tuner data convert "$set" "$folder" --out "$WORK/rows/$set.jsonl" --most "$(share "$most")" --longest 900
    fi
done <<SETS
sgd sgd 70
seal-tools seal-tools 80
api-bank api-bank 30
nestful nestful 36
metatool metatool 160
bitext bitext-support-intents 45
clinc150 clinc150 45
crosswoz crosswoz 50
SETS

if missing "$WORK/rows/support.jsonl"; then
    "$PYTHON" -m agent dataset lessons --rows "$(share 400)" --seed 31 --no-examples --out "$WORK/rows/support.jsonl"
fi
if missing "$WORK/rows/intents.jsonl"; then
    "$PYTHON" -m agent dataset intents --rows "$(share 750)" --seed 7 --out "$WORK/rows/intents.jsonl"
fi

# shellcheck disable=SC2086
if missing "$WORK/rows/desks.jsonl"; then
    tuner data desks --out "$WORK/rows/desks.jsonl" $HELD_OUT_DESKS
fi
if missing "$WORK/rows/ordinary.jsonl"; then
    tuner data ordinary --out "$WORK/rows/ordinary.jsonl"
fi

if missing "$WORK/clean.jsonl"; then
    tuner data clean "$WORK"/rows/*.jsonl --out "$WORK/clean.jsonl"
fi
if missing "$WORK/train.jsonl"; then
    "$PYTHON" -m bench.peers.environment bfcl
    uncontaminated "$WORK/clean.jsonl" "$WORK/train.jsonl"
fi

supervised="$WORK/supervised/experts.safetensors" preferred="$WORK/preferred/experts.safetensors"
if missing "$supervised"; then
    tuner fit "$WORK/train.jsonl" --model "$MODEL" --untrained --learning-rate "$RATE" --evaluation "$WORK/held-out.jsonl" \
        --out "$WORK/supervised" --longest "$LONGEST" --bad-rows skip
fi
# shellcheck disable=SC2086
if missing "$WORK/pairs.jsonl"; then
    # Rows that it hasn't learned from: there it makes the mistakes that it will make.
    tuner compose "$WORK/asked.jsonl" --rows "$(share 700)" --seed 3 $HELD_OUT
    uncontaminated "$WORK/asked.jsonl" "$WORK/asked-clean.jsonl"
    tuner data mistakes "$WORK/asked-clean.jsonl" --model "$MODEL" --experts "$supervised" --out "$WORK/pairs.jsonl"
fi
if missing "$preferred"; then
    tuner fit "$WORK/pairs.jsonl" --model "$MODEL" --task preference --experts "$supervised" --learning-rate 2e-4 \
        --out "$WORK/preferred" --longest "$LONGEST" --bad-rows skip
fi
echo "$preferred"
