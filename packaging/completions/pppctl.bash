# bash completion for pppctl(1)

_pppctl_jobs() {
        pppctl list --limit 50 --color=never 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_pppctl_options() {
        local common="--socket --system --user --color --help --version"
        local job="--from --workers --loops --gil --threaded --thread-weight --time-max --task-timeout --retries --ca-file --quiet --ordered --json"
        local limits="--cpu-time-max --nice --cpu-max --cpu-weight --cpus --memory-max --memory-high --swap-max --pids-max --io-max"
        local worker="--worker-cpu-max --worker-cpu-weight --worker-cpus --worker-memory-max --worker-memory-high --worker-swap-max --worker-pids-max --worker-io-max"

        case $1 in
        run) echo "$job $limits $worker --detach --summary --no-summary $common" ;;
        compare) echo "$job $limits $worker --levels --runs $common" ;;
        list) echo "--limit --json $common" ;;
        show | nodes | doctor) echo "--json $common" ;;
        results) echo "--ordered --failed --json $common" ;;
        wait | cancel | pause | resume) echo "--quiet $common" ;;
        *) echo "$common" ;;
        esac
}

# Sets verb and n, the number of operands between it and the word being completed.
_pppctl_operands() {
        local i

        verb= n=0
        for ((i = 1; i < COMP_CWORD; ++i)); do
                case ${COMP_WORDS[i]} in
                --socket | --color | --from | --workers | --loops | --thread-weight | --time-max | --timeout | \
                        --cpu-time-max | --nice | --cpu-max | --cpu-weight | --cpus | --memory-max | --memory-high | \
                        --swap-max | --pids-max | --io-max | --worker-* | --task-timeout | --retries | \
                        --ca-file | --levels | --runs | --limit | -n)
                        # With "=" the value follows as a word of its own, after the "=".
                        [[ ${COMP_WORDS[i + 1]} == "=" ]] && ((++i))
                        ((++i))
                        ;;
                -?*) ;;
                *) if [[ -z $verb ]]; then verb=${COMP_WORDS[i]}; else ((++n)); fi ;;
                esac
        done
}

_pppctl() {
        local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
        local verb n words=
        local levels="serial threads processes async machines" workloads="words sum sum-array sleep"
        local verbs="run compare list show results wait cancel pause resume nodes doctor metrics help"

        if [[ $cur == "=" ]]; then
                cur=
        elif [[ $prev == "=" ]]; then
                prev=${COMP_WORDS[COMP_CWORD - 2]}
        fi
        COMPREPLY=()
        _pppctl_operands
        case $prev in
        --socket | --from | --ca-file)
                compopt -o filenames 2>/dev/null
                mapfile -t COMPREPLY < <(compgen -f -- "$cur")
                return
                ;;
        --color) words="auto always never" ;;
        --levels)
                compopt -o nospace 2>/dev/null
                local before=
                [[ $cur == *,* ]] && before=${cur%,*},
                mapfile -t COMPREPLY < <(compgen -P "$before" -W "$levels" -- "${cur##*,}")
                return
                ;;
        --loops | --thread-weight | --time-max | --timeout | --cpu-time-max | --task-timeout | --nice | --cpu-max | \
                --cpu-weight | --cpus | --memory-max | --memory-high | --swap-max | --pids-max | --io-max | \
                --worker* | --retries | --runs | --limit | -n) return ;;
        *)
                if [[ $cur == -* ]]; then
                        words=$(_pppctl_options "$verb")
                elif [[ -z $verb ]]; then
                        words=$verbs
                else
                        case $verb,$n in
                        run,0) words=$levels ;;
                        run,1 | compare,0) words=$workloads ;;
                        help,0) words=$verbs ;;
                        show,0 | results,0 | wait,0 | cancel,0 | pause,0 | resume,0) words=$(_pppctl_jobs) ;;
                        run,* | compare,*)
                                compopt -o filenames 2>/dev/null
                                mapfile -t COMPREPLY < <(compgen -f -- "$cur")
                                return
                                ;;
                        esac
                fi
                ;;
        esac
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _pppctl pppctl
