# Completions of exec-server for fish: the program itself lists the candidates.
function __exec_server_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct | string unescape)
    set -l given $words[2..-1] "$current"
    set -l part (string replace -r -- '^--[^=]*=' '' "$current")
    set -l head (string sub -l (math (string length -- "$current") - (string length -- "$part")) -- "$current")
    # Each line is a candidate behind a plus sign, or says what else the shell is to list.
    for line in (eval $words[1] __complete (string escape -- $given) 2>/dev/null)
        switch $line
            case '+*'
                string sub -s 2 -- $line
            case files
                string replace -r -- '^' "$head" (__fish_complete_path "$part")
            case directories
                string replace -r -- '^' "$head" (__fish_complete_directories "$part")
            case programs
                __fish_complete_command
        end
    end
end
complete -c exec-server -f -a '(__exec_server_complete)'
