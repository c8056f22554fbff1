# Completions of exec-server for bash: the program itself lists the candidates.
_exec_server() {
    local line=${COMP_LINE:0:COMP_POINT} words=() word current cut own i
    # A word that bash has divided at a colon or an equals sign is put together again.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $i == 0 || $line == [[:blank:]]* ]]; then
            line=${line#"${line%%[![:blank:]]*}"}
            words+=("")
        fi
        if [[ ${#word} -gt ${#line} ]]; then word=$line; fi
        line=${line:${#word}}
        words[${#words[@]} - 1]+=$word
    done
    for i in "${!words[@]}"; do
        word=${words[i]//[\"\']/}
        words[i]=${word//\\/}
    done
    current=${words[${#words[@]} - 1]}
    # What bash has divided stays on the line, and candidates go without it.
    cut=
    if [[ $COMP_WORDBREAKS == *:* && $current == *:* ]]; then
        cut=${current%"${current##*:}"}
    elif [[ $COMP_WORDBREAKS == *=* && $current == --*=* ]]; then
        cut=${current%"${current#*=}"}
    fi
    own=${current#"$cut"}

    COMPREPLY=()
    # Each line is a candidate behind a plus sign, or says what else the shell is to list.
    while IFS= read -r line; do
        case $line in
            +*) _exec_server_add "${line#"+$cut"}" ;;
            files) while IFS= read -r word; do _exec_server_add "$word"; done < <(compgen -f -- "$own") ;;
            directories) while IFS= read -r word; do _exec_server_add "$word"; done < <(compgen -d -- "$own") ;;
            programs) while IFS= read -r word; do _exec_server_add "$word"; done < <(compgen -c -- "$own") ;;
        esac
    done < <("${words[0]/#\~/$HOME}" __complete "${words[@]:1}" 2>/dev/null)
}
_exec_server_add() {
    local text
    printf -v text %q "$1"
    text=${text/#\\\~/\~}
    if [[ $text != *[/:=] ]]; then
        if [[ -d ${1/#\~/$HOME} && $line != +* ]]; then text+=/; else text+=' '; fi
    fi
    COMPREPLY+=("$text")
}
complete -o nospace -F _exec_server exec-server
