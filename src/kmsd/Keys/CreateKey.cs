using System.Collections.Immutable;
using System.Security.Cryptography;
using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.RootKeys;
using Kmsd.Storage;

namespace Kmsd.Keys;

/// <summary>Makes a key and its first version, sealed by the root key: <c>keys.create</c>.</summary>
internal sealed partial class CreateKey(
    CatalogueLedger catalogue, GrantBook grants, HistoryLog history, Writer writer, RootKey root, Operators operators,
    KeyLimits limits, KeyProtection defaultProtection, TimeProvider clock)
{
    private const string Operation = "keys.create";

    public async Task<KeyDescription> RunAsync(Caller caller, CreateKeyRequest request, CancellationToken cancellationToken)
    {
        string storeName = request.Store ?? KeyStore.Default;
        KeyStore store = catalogue.Current.Require(caller, operators, storeName, StoreAction.CreateKey);
        Check(request);

        // Only now, since resolving names asks the host's name service.
        ImmutableArray<(Principal Principal, KeyRole Role)> firstGrants = ParseGrants(request.Grants ?? []);
        CheckRoom(store, request.Name);

        Key key = await MakeAsync(request, store, cancellationToken);
        return await writer.ChangeAsync(
            () =>
            {
                KeyStore staged = catalogue.Staged.Require(caller, operators, storeName, StoreAction.CreateKey);
                CheckRoom(staged, request.Name);
                catalogue.Add(key);
                foreach ((Principal principal, KeyRole role) in firstGrants)
                {
                    _ = grants.Add(key.Tag, principal, role, key.CreatedAt);
                }

                history.Append(new HistoryEntry
                {
                    At = key.CreatedAt,
                    Scope = HistoryScope.Key,
                    Operation = Operation,
                    Caller = caller,
                    StoreId = key.StoreId.ToBytes(),
                    Tag = key.Tag,
                    Version = key.CurrentVersion.Number,
                });
                return catalogue.Staged.Describe(catalogue.Staged.Keys[key.Tag], caller);
            },
            cancellationToken);
    }

    private void Check(CreateKeyRequest request)
    {
        if (!ResourceName.IsValid(request.Name))
        {
            throw Invalid($"A key's name is {ResourceName.Rule}.");
        }

        if (request.RotationPeriodDays is < 1 or > Limits.RotationPeriodDays)
        {
            throw Invalid($"A rotation period is 1 to {Limits.RotationPeriodDays} days.");
        }

        if (request.Memo is string memo && (CharactersOf(memo) > Limits.MemoCharacters || memo.Any(char.IsControl)))
        {
            throw Invalid($"A memo is at most {Limits.MemoCharacters} characters, without control characters.");
        }

        if (request.Grants?.Any(grant => grant is null) == true)
        {
            throw Invalid("A grant is an object with principal and role.");
        }

        if (request.Grants?.Length > limits.GrantsPerKey)
        {
            throw GrantBook.TooMany(limits);
        }

        if (request.Type != KeyType.Aes256Gcm96)
        {
            throw new KmsException(KmsErrorCode.Unsupported, "This version makes keys of type AES256-GCM96 only.");
        }

        if ((request.Protection ?? defaultProtection) != KeyProtection.Software)
        {
            throw new KmsException(KmsErrorCode.Unsupported, "This version makes keys of protection 'software' only.");
        }
    }

    private static ImmutableArray<(Principal, KeyRole)> ParseGrants(GrantInput[] inputs) =>
        [.. inputs.Select(input => (Principal.Parse(input.Principal), input.Role)).Distinct()];

    private void CheckRoom(KeyStore store, string name)
    {
        if (store.Names.ContainsKey(name))
        {
            throw new KmsException(KmsErrorCode.AlreadyExists, $"There is a key of the name '{name}' in '{store.Name}' already.");
        }

        if (store.Names.Count >= limits.KeysPerStore)
        {
            throw new KmsException(KmsErrorCode.LimitExceeded, $"The key store '{store.Name}' holds {limits.KeysPerStore} keys; it may hold no more.");
        }
    }

    private async Task<Key> MakeAsync(CreateKeyRequest request, KeyStore store, CancellationToken cancellationToken)
    {
        const long FirstVersion = 1;
        var tag = KeyTag.New();
        DateTimeOffset now = clock.GetUtcNow();
        int period = request.RotationPeriodDays ?? Limits.DefaultRotationPeriodDays;

        using SecretBytes material = new(Aes256Gcm96.KeyLength, Fill);
        MaterialBinding binding = new(store.Id.ToBytes(), tag, FirstVersion, request.Type);
        byte[] blob = await root.SealAsync(material, binding, cancellationToken);
        KeyVersion version = new()
        {
            Number = FirstVersion,
            State = KeyState.Enabled,
            CreatedAt = now,
            StateChangedAt = now,
            Material = new SealedMaterial(root.Generation, root.SealMechanism, root.TokenFamily, blob),
        };
        return new Key
        {
            Tag = tag,
            StoreId = store.Id,
            Name = request.Name,
            Type = request.Type,
            Protection = request.Protection ?? defaultProtection,
            State = KeyState.Enabled,
            Memo = request.Memo ?? "",
            CreatedAt = now,
            StateChangedAt = now,
            RotationPeriodDays = period,
            NextRotationAt = now.AddDays(period),
            Versions = [version],
        };
    }

    private static int CharactersOf(string text) => text.Count(unit => !char.IsLowSurrogate(unit));

    private static void Fill(Span<byte> material)
    {
        RandomNumberGenerator.Fill(material);
        ImportForTest(material);
    }

    static partial void ImportForTest(Span<byte> material);

    private static KmsException Invalid(string message) => new(KmsErrorCode.InvalidParams, message);
}
