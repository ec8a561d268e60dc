# fish completion for pppctl(1)

function __pppctl_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l before (string match -r -- '^--[^=]*=' (commandline -ct))
    for line in (pppctl --complete $words[2..-1] 2>/dev/null)
        switch $line
            case :files
                for path in (__fish_complete_path (string replace -- "$before" '' (commandline -ct)))
                    echo "$before$path"
                end
            case :nospace
            case '*'
                echo "$before$line"
        end
    end
end

complete -c pppctl -f -a '(__pppctl_complete)'
