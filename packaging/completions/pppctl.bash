# bash completion for pppctl(1)

_pppctl() {
        local cur=${COMP_WORDS[COMP_CWORD]} line
        local -a lines

        mapfile -t lines < <(pppctl --complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
        COMPREPLY=()
        for line in "${lines[@]}"; do
                case $line in
                :files)
                        compopt -o filenames 2>/dev/null
                        mapfile -t COMPREPLY < <(compgen -f -- "${cur#=}")
                        ;;
                :nospace) compopt -o nospace 2>/dev/null ;;
                *) COMPREPLY+=("${line%%$'\t'*}") ;;
                esac
        done
}

complete -F _pppctl pppctl
