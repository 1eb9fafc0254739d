using System.Globalization;
using Kms.Hsm;
using Kmsd.Configuration;
using Kmsd.Custody;
using Kmsd.Hosting;
using Kmsd.RootKeys;
using Kmsd.Storage;

namespace Kmsd.Commands;

/// <summary>
/// <c>kmsd root restore</c>: a token that lacks the root key gets it again, from a quorum of shares, as a database names it. The
/// database isn't touched; what makes it serve again is another command.
/// </summary>
internal static class RestoreRoot
{
    /// <exception cref="StartupException">64 and 65 of the dialogue; 73: the token holds another root key; others as at start.</exception>
    public static void Run(CommandLine arguments, TimeProvider clock, TextWriter output)
    {
        DaemonOptions options = Preparation.ReadOptions(arguments.ConfigurationFile);
        using StateDirectory state = Preparation.OpenState(options);
        string own = Path.Combine(state.Path, Database.FileName);
        string path = arguments.DatabaseFile ?? own;
        if (!File.Exists(path))
        {
            throw new StartupException(
                ExitCode.Usage, $"{path} isn't there; name the backup, or a copy of the database, that says which root key it is: --from FILE.");
        }

        (IReadOnlyList<StoredGeneration> generations, IReadOnlyList<StoredShare> shares) = VerifyShares.Read(path);
        (Token token, _) = Preparation.OpenToken(options);
        using (token)
        {
            StoredGeneration[] missing = [.. generations.Where(one => one.IsInToken && !IsThere(token, one))];
            RequireNoOther(token, generations.Count(one => one.IsInToken) - missing.Length);
            if (missing.Length == 0)
            {
                throw new StartupException(
                    ExitCode.CannotCreate, $"The token '{token.Description.Label}' holds the root key that {path} names already. Nothing was changed.");
            }

            using OpenedCustody opened = CustodyDialogue.Open(path, missing, shares, arguments.ShareFiles);
            using RootKeyValues values = opened.Secret.DeriveKeys();
            _ = TokenAccess.Try(() => token.RestoreGeneration(opened.Generation.Descriptor, values));
            DateTimeOffset now = clock.GetUtcNow();
            new OpeningNotes(state.Path).Add(opened.ToNote(now));
            Tell(output, opened, token.Description, path, now);
            TellNext(output, [.. missing.Where(one => one.Number != opened.Generation.Number).Select(one => one.Number)], path, own);
        }
    }

    private static void Tell(TextWriter output, OpenedCustody opened, TokenDescription token, string path, DateTimeOffset now)
    {
        opened.WriteProtocol(output, "root key restored from shares", now);
        output.WriteLine($"  named by: {path}");
        output.WriteLine($"  token: '{token.Label}', serial {token.Serial}, {token.Manufacturer} {token.Model}");
        output.WriteLine("  proven: the token gives the check values that the database holds");
        output.WriteLine("  signed:");
    }

    /// <summary>One run brings one generation back; what makes the database serve comes after the last.</summary>
    internal static void TellNext(TextWriter output, IReadOnlyList<long> missing, string path, string own)
    {
        foreach (long generation in missing)
        {
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"Generation {generation} is still missing: run this again with its shares."));
        }

        string next = missing.Count > 0 ? "Then: " : "Next: ";
        output.WriteLine(next + (path == own
            ? "kmsd recover --accept-rollback --reason TEXT. It records that custody was opened."
            : $"kmsd restore {path}. It records that custody was opened."));
    }

    private static bool IsThere(Token token, StoredGeneration generation)
    {
        try
        {
            _ = token.OpenGeneration(generation.Descriptor);
            return true;
        }
        catch (TokenException exception) when (exception.Fault == TokenFault.RootKeyMissing)
        {
            return false;
        }
        catch (TokenException exception)
        {
            throw TokenFaults.ToStartupException(exception);
        }
    }

    /// <summary>A token with the keys of something else, or with half of these, is the wrong one.</summary>
    private static void RequireNoOther(Token token, int expectedGenerations)
    {
        const int KeysOfAGeneration = 3;
        IReadOnlyList<string> present = TokenAccess.Try(token.FindRootObjects);
        if (present.Count != expectedGenerations * KeysOfAGeneration)
        {
            throw new StartupException(
                ExitCode.CannotCreate,
                $"The token '{token.Description.Label}' holds another root key, or a part of one ({string.Join(", ", present)}); use a new token. Nothing was changed.");
        }
    }
}
