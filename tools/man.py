#!/usr/bin/env python3
"""Prints a manual page, as troff, that is made of a document in Markdown or of one of its chapters.

usage: tools/man.py NAME SECTION SUMMARY VERSION FILE [CHAPTER]

Of Markdown it knows what our documents use: headings, paragraphs, lists of one level, code, tables, links, emphasis.
"""

import re
import sys


# An asterisk of code, which marks nothing.
STAR = "\0"


def escaped(text):
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    text = text.replace("~", "\\(ti").replace("^", "\\(ha").replace('"', "\\(dq")
    return re.sub(r"^\.", "\\&.", text)


def inline(text):
    """A paragraph's text: code and strong words are bold, emphasised ones italic, links their words."""
    pieces = []
    for index, piece in enumerate(re.split(r"`([^`]*)`", text)):
        if index % 2:
            pieces.append("\\fB" + escaped(piece).replace("*", STAR) + "\\fR")
            continue
        piece = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", piece)
        piece = escaped(piece)
        pieces.append(piece)
    text = "".join(pieces)
    plain = re.compile(r"\\f[BIR]")
    text = re.sub(r"\*\*(.+?)\*\*", lambda strong: "\\fB" + plain.sub("", strong[1]) + "\\fR", text)
    text = re.sub(r"(?<![\w*])\*([^*\s][^*]*)\*", r"\\fI\1\\fR", text)
    text = text.replace(STAR, "*")
    return re.sub(r"^([.'])", r"\\&\1", text)


def cells(line):
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def table(lines, out):
    """A row is a paragraph: its first cell is the head, the others follow with their columns' names."""
    head = cells(lines[0])
    for line in lines[2:]:
        row = cells(line)
        out += [".TP", inline(row[0]) or "\\-"]
        rest = [(name, cell) for name, cell in zip(head[1:], row[1:]) if cell]
        for index, (name, cell) in enumerate(rest):
            if index:
                out.append(".br")
            label = "\\fI" + escaped(re.sub(r"[`*]", "", name)) + "\\fR: " if len(head) > 2 and name else ""
            out.append(label + inline(cell))


def page(name, section, summary, version, text):
    out = [f'.TH "{escaped(name.upper())}" {section} "" "exec\\-server {escaped(version)}"', ".ad l", ".SH NAME"]
    out += [f"{escaped(name)} \\- {escaped(summary)}", ".SH DESCRIPTION"]
    lines = text.strip().split("\n")
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("```"):
            out += [".PP", ".nf", ".RS 4"]
            at += 1
            while not lines[at].startswith("```"):
                out.append(escaped(lines[at]))
                at += 1
            out += [".RE", ".fi"]
            at += 1
        elif line.startswith("#"):
            level, title = re.match(r"(#+) *(.*)", line).groups()
            title = re.sub(r"[`*]", "", title)
            if level == "##":
                out.append(f'.SH "{escaped(title.upper())}"')
            elif len(level) > 2:
                out.append(f'.SS "{escaped(title)}"')
            at += 1
        elif line.startswith("|"):
            start = at
            while at < len(lines) and lines[at].startswith("|"):
                at += 1
            table(lines[start:at], out)
            out.append(".PP")
        elif re.match(r"[*-] |\d+\. ", line):
            mark, rest = re.match(r"([*-]|\d+\.) +(.*)", line).groups()
            paragraph = [rest]
            at += 1
            while at < len(lines) and lines[at].startswith("  "):
                paragraph.append(lines[at].strip())
                at += 1
            bullet = "\\(bu" if mark in "*-" else mark
            out += [f".IP {bullet} 4", inline(" ".join(paragraph))]
        elif not line.strip():
            at += 1
        else:
            paragraph = []
            while at < len(lines) and lines[at].strip() and not re.match(r"```|#|\||[*-] ", lines[at]):
                paragraph.append(lines[at].strip())
                at += 1
            out += [".PP", inline(" ".join(paragraph))]
    return "\n".join(out) + "\n"


def main():
    name, section, summary, version, file = sys.argv[1:6]
    with open(file, encoding="utf-8") as source:
        text = source.read()
    if len(sys.argv) > 6:
        found = re.search(rf"^## {re.escape(sys.argv[6])}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
        if not found:
            sys.exit(f"{file} has no chapter {sys.argv[6]}")
        text = found.group(1)
    sys.stdout.write(page(name, section, summary, version, text))


main()
