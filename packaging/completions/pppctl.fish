# fish completion for pppctl(1)

set -l verbs run compare list show results wait cancel pause resume nodes doctor metrics help
set -l levels serial threads processes async machines
set -l workloads words sum sum-array sleep

function __pppctl_jobs
    pppctl list --limit 50 --color=never 2>/dev/null | awk 'NR > 1 { print $1 "\t" $2 " " $3 " " $4 }'
end

complete -c pppctl -f
complete -c pppctl -n "not __fish_seen_subcommand_from $verbs" -a "$verbs"
complete -c pppctl -l socket -r -F -d 'talk to the pppd that listens there'
complete -c pppctl -l system -d "talk to the system's pppd"
complete -c pppctl -l user -d 'talk to your own pppd'
complete -c pppctl -l color -x -a 'auto always never'
complete -c pppctl -s h -l help -d 'show help'
complete -c pppctl -l version -d 'show the version'

complete -c pppctl -n "__fish_seen_subcommand_from run; and not __fish_seen_subcommand_from $levels" -a "$levels"
complete -c pppctl -n "__fish_seen_subcommand_from $levels; and not __fish_seen_subcommand_from $workloads" -a "$workloads"
complete -c pppctl -n "__fish_seen_subcommand_from compare; and not __fish_seen_subcommand_from $workloads" -a "$workloads"
complete -c pppctl -n "__fish_seen_subcommand_from words" -F
complete -c pppctl -n "__fish_seen_subcommand_from show results wait cancel pause resume" -k -a '(__pppctl_jobs)'
complete -c pppctl -n "__fish_seen_subcommand_from help" -a "$verbs"

set -l job "__fish_seen_subcommand_from run compare"
complete -c pppctl -n $job -l from -r -F -d 'read inputs, one a line'
complete -c pppctl -n $job -l workers -x -d 'threads, processes, or tasks in flight'
complete -c pppctl -n $job -l loops -x -d 'io_uring loops'
complete -c pppctl -n $job -l gil -d 'one lock for all threads'
complete -c pppctl -n $job -l threaded -d 'threads in cgroups of their own'
complete -c pppctl -n $job -l thread-weight -x -d 'shares of the CPU by thread'
complete -c pppctl -n $job -l time-max -x -d 'cancel the job after this time'
complete -c pppctl -n $job -l cpu-time-max -x -d 'cancel the job after this CPU time'
complete -c pppctl -n $job -l nice -x -d 'nice value'
complete -c pppctl -n $job -l cpu-max -x -d 'percent of one CPU'
complete -c pppctl -n $job -l cpu-weight -x -d 'share of the CPU'
complete -c pppctl -n $job -l cpus -x -d 'on these CPUs only'
complete -c pppctl -n $job -l memory-max -x -d 'memory past which the kernel kills'
complete -c pppctl -n $job -l memory-high -x -d 'memory past which the kernel slows down'
complete -c pppctl -n $job -l swap-max -x -d 'swap space'
complete -c pppctl -n $job -l pids-max -x -d 'processes and threads'
complete -c pppctl -n $job -l io-max -x -d 'rates of a disk'
complete -c pppctl -n $job -l worker-cpu-max -x -d 'percent of one CPU, each worker'
complete -c pppctl -n $job -l worker-cpu-weight -x -d 'share of the CPU, each worker'
complete -c pppctl -n $job -l worker-cpus -x -d 'on these CPUs only, each worker'
complete -c pppctl -n $job -l worker-memory-max -x -d 'memory past which the kernel kills, each worker'
complete -c pppctl -n $job -l worker-memory-high -x -d 'memory past which the kernel slows down, each worker'
complete -c pppctl -n $job -l worker-swap-max -x -d 'swap space, each worker'
complete -c pppctl -n $job -l worker-pids-max -x -d 'processes and threads, each worker'
complete -c pppctl -n $job -l worker-io-max -x -d 'rates of a disk, each worker'
complete -c pppctl -n $job -l task-timeout -x -d 'fail a task whose try takes longer'
complete -c pppctl -n $job -l retries -x -d 'try again what failed for a passing reason'
complete -c pppctl -n $job -l ca-file -r -F -d 'trust these authorities'
complete -c pppctl -n "__fish_seen_subcommand_from run compare wait cancel pause resume" -s q -l quiet -d 'no progress bar, no summary'
complete -c pppctl -n "__fish_seen_subcommand_from run compare results" -l ordered -d 'in the order of the inputs'
complete -c pppctl -n "__fish_seen_subcommand_from run compare list show results nodes doctor" -l json -d 'print JSON'
complete -c pppctl -n "__fish_seen_subcommand_from run" -l detach -d 'print the number of the job and leave'
complete -c pppctl -n "__fish_seen_subcommand_from run" -l summary -d 'print the summary'
complete -c pppctl -n "__fish_seen_subcommand_from run" -l no-summary -d 'print no summary'
complete -c pppctl -n "__fish_seen_subcommand_from compare" -l levels -x -a "$levels" -d 'levels to compare'
complete -c pppctl -n "__fish_seen_subcommand_from compare" -l runs -x -d 'run each level so often'
complete -c pppctl -n "__fish_seen_subcommand_from list" -s n -l limit -x -d 'at most so many jobs'
complete -c pppctl -n "__fish_seen_subcommand_from results" -l failed -d 'only failures'
