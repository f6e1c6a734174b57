function _latency_receiver_completion;
    set -l response (env _LATENCY_RECEIVER_COMPLETE=fish_complete COMP_WORDS=(commandline -cp | string replace --regex '\\\\$' '' | string join ' ') COMP_CWORD=(commandline -t) latency-receiver);

    # A whole word is completed, of which the command answers what follows --option=.
    set -l option (string match --regex -- '^--[^=]+=' (commandline -t));

    for completion in $response;
        set -l metadata (string split "," $completion);

        if test $metadata[1] = "dir";
            __fish_complete_directories $metadata[2] | string replace --regex -- "^" "$option";
        else if test $metadata[1] = "file";
            __fish_complete_path $metadata[2] | string replace --regex -- "^" "$option";
        else if test $metadata[1] = "plain";
            echo "$option"$metadata[2];
        end;
    end;
end;

complete --no-files --command latency-receiver --arguments "(_latency_receiver_completion)";
