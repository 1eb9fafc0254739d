using Kms.Client.Protocol;
using Kmsctl.Output;

namespace Kmsctl.Commands;

/// <summary>What a list of keys must not keep to itself: its rows look alike, whether they verify or not.</summary>
internal static class KeyWarnings
{
    /// <summary>Tells each warning on standard error.</summary>
    /// <param name="session">The command.</param>
    /// <param name="keys">The keys that were listed.</param>
    /// <param name="store">The store that was asked for, if one was.</param>
    /// <exception cref="CommandException">A key or the store isn't served because what is stored of it doesn't verify.</exception>
    public static async Task TellAsync(Session session, IReadOnlyCollection<KeyDescription> keys, string? store)
    {
        List<string> forged = [];
        foreach (KeyDescription key in keys.Where(key => key.Warnings is { Length: > 0 }))
        {
            foreach (string warning in key.Warnings!)
            {
                await Failure.WriteAsync($"key {KeyCommands.Name(key)}: {warning}");
            }

            // A warning may be of a long rotation period as well: only the daemon's refusal says which key isn't served.
            if (await IsNotServedAsync(() => session.Client.GetKeyAsync(new KeyRequest { Key = key.Tag }, session.CancellationToken)))
            {
                forged.Add(KeyCommands.Name(key));
            }
        }

        if (forged.Count > 0)
        {
            throw new CommandException(
                ExitCode.Integrity,
                $"In quarantine, so what the list says of it may be forged: {string.Join(", ", forged)}. Tell the operator; 'kmsctl status' tells him what to do.");
        }

        // None of its keys are listed then.
        if (store is not null && keys.Count == 0
            && await IsNotServedAsync(() => session.Client.ListMembersAsync(new ListMembersRequest { Store = store }, session.CancellationToken)))
        {
            throw new CommandException(
                ExitCode.Integrity,
                $"The key store '{store}' is in quarantine, so none of its keys is listed: what is stored of it was changed from outside. Tell the operator; 'kmsctl status' tells him what to do.");
        }
    }

    /// <summary>Other refusals say nothing of that: rights, or what went away meanwhile.</summary>
    private static async Task<bool> IsNotServedAsync(Func<Task> look)
    {
        try
        {
            await look();
            return false;
        }
        catch (KmsException refusal) when (refusal.Code is KmsErrorCode.IntegrityFailure or KmsErrorCode.Forbidden or KmsErrorCode.NotFound)
        {
            return refusal.Code == KmsErrorCode.IntegrityFailure;
        }
    }
}
